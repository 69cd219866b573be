"""Pictures of MNIST's -> the same digits as other pens, brushes and hands would have left them on paper.

Each function takes a picture, uint8 [28, 28], and a random generator, and returns grey levels, uint8 [h, w], mostly
dark on light. All ranges are drawn uniformly. The verdict is learnt from them (calibrate.py): what it takes for a digit
must not depend on one dataset's soft, even strokes.
"""

from collections.abc import Callable

import cv2
import numpy as np

from digit import SIDE
from train.research import lines

Style = Callable[[np.ndarray, np.random.Generator], np.ndarray]
TIMES = (1.0, 6.0)  # how much larger than MNIST's
SOFT = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def plain(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """MNIST's own, light on dark."""
    return picture


def brush(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Strokes of uneven depth, as a brush or a pencil leaves them, some grainy, some blurred, some pale."""
    ink = _larger(picture, rng).astype(np.float32) / 255
    patches = rng.uniform(0.35, 1, (int(rng.integers(2, 10)),) * 2).astype(np.float32)
    ink *= cv2.resize(patches, ink.shape[::-1], interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        ink *= rng.normal(1, 0.25, ink.shape).clip(0, 1.3)
    if rng.random() < 0.4:
        ink = cv2.GaussianBlur(ink, (0, 0), rng.uniform(0.3, 0.8) * len(ink) / SIDE)
    return (255 - ink.clip(0, 1) * rng.uniform(120, 255)).astype(np.uint8)


def pen(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A pen of even width along the middle of the strokes, drawn small or large, half of them without soft edges."""
    middle = _skeleton(cv2.resize(picture, (112, 112), interpolation=cv2.INTER_CUBIC) > 110)
    width = int(rng.integers(2, 16))
    drawn = cv2.dilate(middle, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
    side = int(rng.choice([SIDE, 32, 40, 64, 100, 112]))
    drawn = cv2.resize(drawn, (side, side), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        drawn = np.where(drawn > 90, np.uint8(255), np.uint8(0))
    return 255 - drawn if rng.random() < 0.7 else drawn


def pencil(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Strokes on clean paper, pale down to a tenth where the hand pressed less."""
    ink = _larger(picture, rng).astype(np.float32) / 255
    pressure = rng.uniform(0.1, 1, (int(rng.integers(2, 6)),) * 2).astype(np.float32)
    return (255 - ink.clip(0, 1) * cv2.resize(pressure, ink.shape[::-1]) * rng.uniform(150, 255)).astype(np.uint8)


def gappy(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A thin line that was reduced to 24 to 47 pixels without smoothing: pale, and with gaps."""
    middle = _skeleton(cv2.resize(picture, (112, 112), interpolation=cv2.INTER_CUBIC) > 110)
    side = int(rng.integers(24, 48))
    line = cv2.dilate(middle, np.ones((2, 2), np.uint8))
    drawn = cv2.resize(line, (3 * side, 3 * side), interpolation=cv2.INTER_AREA)
    ink = np.minimum(drawn[1::3, 1::3] * 1.6, 255) * rng.uniform(0.5, 1)
    margin = int(rng.integers(1, 8))
    return 255 - cv2.copyMakeBorder(ink.astype(np.uint8), margin, margin, margin, margin, cv2.BORDER_CONSTANT)


def slanted(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turned, sheared, wider or taller."""
    turn = np.eye(2) + rng.normal(0, 0.12, (2, 2))
    times, middle = rng.uniform(1.5, TIMES[1]), np.full(2, (SIDE - 1) / 2)
    move = np.hstack([turn, (middle - turn @ middle)[:, None]]) * times
    side = int(SIDE * times)
    return 255 - cv2.warpAffine(picture, move, (side, side), flags=cv2.INTER_CUBIC)


def among_lines(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kinds = lines.in_cell, lines.in_frame, lines.on_ruled, lines.on_squared
    return kinds[int(rng.integers(len(kinds)))](picture, rng)


def tight(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut out along the digit, or up to 3 pixels beside it."""
    left, top, width, height = lines.box_of(picture)
    margin = int(rng.integers(0, 4))
    large = _larger(picture[top : top + height, left : left + width], rng)
    return 255 - cv2.copyMakeBorder(large, margin, margin, margin, margin, cv2.BORDER_CONSTANT)


def small(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A digit of 6 to 19 pixels."""
    side = int(rng.integers(9, SIDE))
    return 255 - cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)


STYLES: tuple[Style, ...] = (plain, brush, pen, pencil, gappy, slanted, among_lines, tight, small)


def _larger(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    times = rng.uniform(*TIMES)
    return cv2.resize(picture, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)


def _skeleton(inked: np.ndarray) -> np.ndarray:
    """What is left of a mask where erosion would make it vanish, uint8, 255 or 0."""
    left = inked.astype(np.uint8) * 255
    middle = np.zeros_like(left)
    while left.any():
        middle |= left & ~cv2.morphologyEx(left, cv2.MORPH_OPEN, SOFT)
        left = cv2.erode(left, SOFT)
    return middle
