"""Canonical pictures: the same digit whatever its ink, size, place, paper and light; and what counts as MNIST's own."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canonical import BOX, as_mnist, read_from
from transparency import opaque

SAMPLES = Path(__file__).parents[2] / "samples"
DIGITS = [cv2.imread(str(SAMPLES / f"{label}.png"), cv2.IMREAD_GRAYSCALE) for label in range(10)]
digits = st.sampled_from(DIGITS)
odd_pixels = st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([0, 3, 4]), st.integers(0, 2**32 - 1))


def larger(digit: np.ndarray, times: float) -> np.ndarray:
    return cv2.resize(digit, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)


def unlike(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference, as a share of the mean ink; a pixel to any side is none: the centre of mass is rounded."""
    moved = (np.roll(a.astype(float), (down, across), axis=(0, 1)) for down in (-1, 0, 1) for across in (-1, 0, 1))
    return min(float(np.abs(each - b).sum() / b.sum()) for each in moved)


def picture_of(pixels: np.ndarray) -> np.ndarray:
    return read_from(pixels).picture


@settings(deadline=None, max_examples=60)
@given(digits, st.floats(1, 12))
def test_polarity_does_not_matter(digit, times):
    large = larger(digit, times)
    # Over 3,000 sizes of the ten digits: 0.001 on average, 0.18 at most, where an edge falls between two pixels.
    assert unlike(picture_of(255 - large), picture_of(large)) < 0.2


@settings(deadline=None, max_examples=60)
@given(digits, st.floats(1.5, 30))
def test_scale_does_not_matter(digit, times):
    assert unlike(picture_of(larger(digit, times)), digit) < 0.5
    assert unlike(picture_of(larger(digit, times)), picture_of(larger(digit, 2 * times))) < 0.3


@settings(deadline=None, max_examples=60)
@given(digits, st.integers(1, 6), st.tuples(*[st.integers(0, 100)] * 4))
def test_place_does_not_matter(digit, times, margins):
    large = larger(digit, times)
    moved = cv2.copyMakeBorder(large, *margins, cv2.BORDER_CONSTANT, value=0)
    assert unlike(picture_of(moved), picture_of(large)) < 0.4


@settings(deadline=None, max_examples=60)
@given(digits, st.integers(0, 255), st.integers(0, 255))
def test_contrast_does_not_matter(digit, paper, ink):
    if abs(paper - ink) < 40:
        return
    share = larger(digit, 3).astype(np.float32) / 255
    pixels = np.round(paper * (1 - share) + ink * share).astype(np.uint8)
    assert unlike(picture_of(pixels), picture_of(larger(digit, 3))) < 0.2


@settings(deadline=None, max_examples=100)
@given(odd_pixels)
def test_any_pixels_give_a_picture(shape):
    height, width, channels, seed = shape
    rng = np.random.default_rng(seed)
    size = (height, width, channels) if channels else (height, width)
    for pixels in (rng.integers(0, 256, size), rng.integers(0, 2, size) * 255, np.full(size, seed % 256)):
        canonical = read_from(opaque(pixels.astype(np.uint8)))
        assert canonical.picture.shape == (28, 28)
        assert canonical.picture.dtype == np.uint8


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (2, 3000), (300, 2000)])
def test_strips_give_a_picture(size):
    rng = np.random.default_rng(0)
    assert picture_of(rng.integers(0, 256, size, dtype=np.uint8)).shape == (28, 28)


@pytest.mark.parametrize("label", range(10))
def test_a_digit_on_a_gradient(label):
    large = larger(DIGITS[label], 5).astype(np.float32) / 255
    light = np.linspace(240, 120, large.shape[1])[None, :] * np.linspace(1, 0.8, large.shape[0])[:, None]
    assert unlike(picture_of((light * (1 - 0.85 * large)).astype(np.uint8)), DIGITS[label]) < 0.4


@pytest.mark.parametrize("label", range(10))
def test_a_digit_half_in_shadow(label):
    sheet = cv2.copyMakeBorder(larger(DIGITS[label], 5), 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=0)
    share = sheet.astype(np.float32) / 255
    light = np.where(np.arange(sheet.shape[1]) < 110, 230.0, 165.0)[None, :]
    canonical = read_from((light * (1 - 0.9 * share)).astype(np.uint8))
    assert unlike(canonical.picture, DIGITS[label]) < 0.5
    assert "inverted" in canonical.warnings


@pytest.mark.parametrize("label", range(10))
def test_a_digit_cropped_to_its_ink(label):
    inked = DIGITS[label] > 0
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    tight = DIGITS[label][rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert unlike(picture_of(255 - larger(tight, 4)), DIGITS[label]) < 0.4


def test_a_thin_pen_is_made_as_thick_as_mnists():
    page = np.full((1000, 1000), 255, np.uint8)
    cv2.polylines(page, [np.int32([[300, 200], [700, 200], [450, 800]])], False, 0, 2)
    thickness = (picture_of(page) > 127).sum(axis=1)[8:20]
    assert np.median(thickness) >= 2


def test_specks_are_dropped():
    page = 255 - cv2.copyMakeBorder(larger(DIGITS[3], 6), 80, 80, 80, 80, cv2.BORDER_CONSTANT, value=0)
    clean = picture_of(page)
    for x, y in ((12, 12), (300, 20), (20, 310), (200, 30)):
        page[y : y + 4, x : x + 4] = 0
    assert unlike(picture_of(page), clean) < 0.02


@pytest.mark.parametrize(
    ("pixels", "warning"),
    [
        (np.zeros((28, 28)), "blank"),
        (np.full((50, 50, 3), 77), "blank"),
        (255 - larger(DIGITS[7], 3), "inverted"),
        (100 + larger(DIGITS[7], 3) / 10, "low_contrast"),
        (larger(DIGITS[7], 3)[:, :45], "cropped"),
        (np.hstack([DIGITS[3], DIGITS[4]]), "several_shapes"),
        (np.hstack([DIGITS[3], np.zeros((28, 90)), DIGITS[4]]), "several_shapes"),
    ],
)
def test_warnings(pixels, warning):
    assert warning in read_from(pixels.astype(np.uint8)).warnings


@pytest.mark.parametrize("label", range(10))
def test_no_warnings_about_an_ordinary_digit(label):
    assert read_from(np.pad(larger(DIGITS[label], 4), 20)).warnings == ()


def test_mnists_own_are_recognized_and_their_neighbours_are_not():
    own = np.stack(DIGITS)
    exact = np.zeros(10, bool)
    assert as_mnist(own, exact)[0].all()
    for other in (255 - own, np.roll(own, 1, axis=1), np.roll(own, -2, axis=2), own // 2 + 100):
        assert not as_mnist(other, exact)[0].any()
    speckled = own.copy()
    speckled[:, 0, 0] = 1
    assert not as_mnist(speckled, exact)[0].any()
    settled, cleaned = as_mnist(speckled, ~exact)  # of a JPEG, that is nothing
    assert settled.all()
    assert np.array_equal(cleaned[:, 0, 0], np.zeros(10))
    assert BOX == 20


def test_what_is_dim_is_made_bright():
    for digit in DIGITS:
        dim = digit // 64
        assert not as_mnist(dim[None], np.array([False]))[0].any()
        assert unlike(picture_of(digit // 16), picture_of(digit)) < 0.25


@pytest.mark.parametrize(("dots", "cluttered"), [(11, False), (12, True)])
def test_a_dozen_parts_are_clutter(dots, cluttered):
    page = np.full((120, 200), 255, np.uint8)
    for i in range(dots):
        cv2.circle(page, (20 + i % 5 * 38, 20 + i // 5 * 38), 6, 0, -1)
    assert ("cluttered" in read_from(page).warnings) == cluttered


def test_a_stroke_that_pales_stays_whole():
    """A pencil that presses less on one side: the pale side is part of the digit, and as strong as the other."""
    zero = larger(DIGITS[0], 4)
    pale = zero.copy()
    pale[:, 56:] = pale[:, 56:] // 5
    assert unlike(picture_of(255 - pale), picture_of(255 - zero)) < 0.3


def test_a_thin_line_with_gaps_stays_whole():
    drawing = np.full((40, 40), 255, np.uint8)
    cv2.ellipse(drawing, (20, 20), (7, 11), 0, 0, 360, 120)
    broken = drawing.copy()
    broken[10:30:2] = 255
    assert unlike(picture_of(broken), picture_of(drawing)) < 0.4
    assert "cluttered" not in read_from(broken).warnings


def test_pale_ink_away_from_the_digit_is_left_out():
    seven = larger(DIGITS[7], 4)
    smudged = 255 - seven
    smudged[50:60, 4:14] = 215
    assert unlike(picture_of(smudged), picture_of(255 - seven)) < 0.05
