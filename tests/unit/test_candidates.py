"""One of the readings of an image is the digit, whatever is round it, and whatever light falls on it."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

import reader
from candidates import others
from canonical import drawn
from ink import find_ink
from levels import Levels
from reader import read
from reading import Reading
from tests.unit.test_canonical import DIGITS, larger, unlike
from train.research.uploads import png

LABELS = range(10)


def sheet(digit: np.ndarray, side: int = 200) -> np.ndarray:
    """The digit, dark on light paper."""
    around = (side - 112) // 2
    return np.pad(230 - (larger(digit, 4) * 0.8).astype(np.uint8), around, constant_values=230)


def readings(pixels: np.ndarray) -> list[np.ndarray]:
    """The pictures of all readings."""
    (picture,), (outcome,) = read([png(pixels)])
    assert isinstance(outcome, Reading)
    return [picture, *(other.picture for other in outcome.others)]


def on_a_desk(degrees: float) -> Callable[[np.ndarray], np.ndarray]:
    def lying(digit: np.ndarray) -> np.ndarray:
        """The sheet turned, the digit on it upright."""
        corners = cv2.boxPoints(((150, 150), (180, 200), degrees)).astype(np.int32)
        paper = cv2.fillPoly(np.full((300, 300), 90, np.uint8), [corners], 230)
        paper[94:206, 94:206] = sheet(digit)[44:156, 44:156]
        return paper

    return lying


def in_the_shadow_of_a_hand(digit: np.ndarray) -> np.ndarray:
    shade = np.tile(np.linspace(1, 0.6, 200, dtype=np.float32), (200, 1))
    hand = cv2.ellipse(np.zeros((200, 200), np.float32), (60, 150), (80, 45), 20, 0, 360, 0.6, -1)
    return (sheet(digit) * shade * (1 - cv2.GaussianBlur(hand, (0, 0), 3))).astype(np.uint8)


def mirroring_a_lamp(digit: np.ndarray) -> np.ndarray:
    glare = np.zeros((200, 200), np.float32)
    cv2.ellipse(glare, (70, 100), (60, 80), 0, 0, 360, 1, -1)
    return np.clip(sheet(digit) * (0.6 + 0.4 * glare), 0, 255).astype(np.uint8)


WAYS = [on_a_desk(0), on_a_desk(20), in_the_shadow_of_a_hand, mirroring_a_lamp]


@pytest.mark.parametrize("way", WAYS, ids=["desk", "turned", "shadow", "lamp"])
@pytest.mark.parametrize("label", LABELS)
def test_one_of_the_readings_is_the_digit(label, way):
    wanted = readings(sheet(DIGITS[label]))[0]
    found = readings(way(DIGITS[label]))
    assert len(found) <= 15
    assert min(unlike(each, wanted) for each in found) < 0.3


def test_even_light_needs_no_further_readings():
    falls_off = np.linspace(1, 0.5, 200)[None]
    for label in LABELS:
        assert len(readings((sheet(DIGITS[label]) * falls_off).astype(np.uint8))) == 1


@pytest.mark.parametrize("label", LABELS)
def test_a_small_image_has_the_readings_of_its_own_pixels(label):
    """The picture that is made of 28 by 28 pixels takes their place."""
    page = 255 - np.roll(DIGITS[label], 2, axis=0)
    page[3] = 0
    ink = find_ink(Levels(page.copy()))
    wanted = [other.picture for other in others(ink, drawn(ink))]
    assert wanted
    assert np.array_equal(readings(page)[1:], wanted)


def test_what_fails_beside_the_plain_reading_costs_nothing_but_itself(monkeypatch, caplog):
    def broken(ink, plain):
        raise ZeroDivisionError

    wanted = readings(sheet(DIGITS[3]))
    monkeypatch.setattr(reader, "others", broken)
    assert np.array_equal(readings(sheet(DIGITS[3])), wanted[:1])
    assert "ZeroDivisionError" in caplog.text
