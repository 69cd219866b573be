"""Ruled lines, cell borders and boxes: long, thin and nearly straight, found and painted over.

grey levels -> thin structures -> share of each nearly level line that they cover -> lines, from the best covered down
-> painted over with what a closing across the line leaves, so that strokes that cross it stay.

Thin structures are those that a closing fills (black-hat; J. Serra: Image Analysis and Mathematical Morphology, 1982).
Lines are sought as in a Hough transform that knows only small angles.
"""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

THICKEST = 0.14  # of the plane's side across; a thicker line is none
SPAN = 0.75  # of its side along; what covers less is no line: a digit with MNIST's margin has 0.72 ...
WHOLE = 0.9  # ... and between the outer parts so much
FLANK = 0.75  # of the best covered row's cover; rows beside it that have it are of the same line
FAINTEST = 8.0  # grey levels
STEEPEST = 0.07  # rise over run: 4 degrees
SLOPES = 15  # tried between falling and rising
BLOCKS = 16  # of columns; within one a line is taken as level
COVERED = 0.5  # of a block's columns
MANY = 24  # lines; more are texture
OUTER = 0.25  # of the side; a line so near to an edge may be the border of a cell


class Rulings(NamedTuple):
    """What `painted_over` found.

    plane: uint8 [h, w], without the lines.
    found: how many lines.
    inside: left, top, right, bottom of what lies within the lines near the edges.
    """

    plane: np.ndarray
    found: int
    inside: tuple[int, int, int, int]


class Line(NamedTuple):
    """A nearly level line: its first and last row in the middle of the plane, and its rise over its run."""

    top: int
    bottom: int
    slope: float


def painted_over(plane: np.ndarray, noise: float) -> Rulings:
    """Grey levels, uint8 [h, w], less the dark or light lines that run through most of them."""
    rows: list[Line] = []
    columns: list[Line] = []
    for invert in (False, True):
        plane = cv2.bitwise_not(plane) if invert else plane
        found = _lines(plane, noise)
        plane = _painted(plane, found)
        turned = cv2.transpose(plane)
        found_columns = _lines(turned, noise)
        plane = cv2.transpose(_painted(turned, found_columns))
        plane = cv2.bitwise_not(plane) if invert else plane
        rows += found
        columns += found_columns
    top, bottom = _between(rows, plane.shape[0])
    left, right = _between(columns, plane.shape[1])
    return Rulings(plane, len(rows) + len(columns), (left, top, right, bottom))


def _lines(plane: np.ndarray, noise: float) -> list[Line]:
    """Dark lines along the rows."""
    height, width = plane.shape
    thin = cv2.subtract(_closed(plane, max(int(THICKEST * height), 1) + 2), plane)
    _, dark = cv2.threshold(thin, max(FAINTEST, 4 * noise), 255, cv2.THRESH_BINARY)
    shares = cv2.resize(dark, (BLOCKS, height), interpolation=cv2.INTER_AREA)
    reach = int(STEEPEST * width / 2) + 1
    if not _may_be_covered(shares, reach):
        return []
    shares = np.pad(shares, ((reach, reach), (0, 0))).ravel()[_places(height, width, reach)]
    covered = (shares > COVERED * 255).mean(axis=2)  # [slope, row in the middle]
    covered[:, int(OUTER * height) : int((1 - OUTER) * height)] *= SPAN / WHOLE
    found: list[Line] = []
    fit = cv2.blur(shares.mean(axis=2, dtype=np.float32), (5, 1))  # several slopes may cover a thick line
    while len(found) < MANY and covered.max() >= SPAN:
        slope, row = np.unravel_index(np.where(covered >= SPAN, fit, -1).argmax(), covered.shape)
        profile = covered[slope] >= FLANK * covered[slope, row]
        top = row - int(profile[row::-1].argmin() or row + 1) + 1
        bottom = row + int(profile[row:].argmin() or height - row)
        covered[:, max(top - 2, 0) : bottom + 2] = 0
        if bottom - top <= THICKEST * height:
            found.append(Line(int(top), int(bottom), float(_slopes()[slope])))
    return found


def _may_be_covered(shares: np.ndarray, reach: int) -> bool:
    """Whether enough blocks are covered near any row; a line of any slope stays within `reach` of its middle."""
    _, covered = cv2.threshold(shares, COVERED * 255, 1, cv2.THRESH_BINARY)
    near = cv2.dilate(covered, np.ones((2 * reach + 1, 1), np.uint8))
    return bool(near.sum(axis=1).max() >= SPAN * BLOCKS)


def _slopes() -> np.ndarray:
    return np.linspace(-STEEPEST, STEEPEST, SLOPES)


@lru_cache(maxsize=16)
def _places(height: int, width: int, reach: int) -> np.ndarray:
    """Where in the flattened, padded blocks a line passes, int64 [SLOPES, height, BLOCKS]."""
    along = (np.arange(BLOCKS) + 0.5) * width / BLOCKS - width / 2
    rows = np.arange(height)[:, None] + np.rint(_slopes()[:, None, None] * along).astype(int) + reach
    return rows * BLOCKS + np.arange(BLOCKS)


def _painted(plane: np.ndarray, lines: list[Line]) -> np.ndarray:
    """The plane with its lines along rows painted over."""
    height, width = plane.shape
    if not lines:
        return plane
    rows, along = np.arange(height)[:, None], np.arange(width) + 0.5 - width / 2
    for line in lines:
        level = rows - line.slope * along
        band = (level > line.top - 2) & (level < line.bottom + 1)
        plane = np.where(band, _closed(plane, line.bottom - line.top + 3), plane)
    return plane


def _between(lines: list[Line], side: int) -> tuple[int, int]:
    """First and last place inside of the lines that are near an edge."""
    first, last = 0, side
    for line in lines:
        middle = (line.top + line.bottom) / 2
        if middle < OUTER * side:
            first = max(first, line.bottom + 1)
        elif middle > (1 - OUTER) * side:
            last = min(last, line.top - 1)
    return first, last


def _closed(plane: np.ndarray, across: int) -> np.ndarray:
    """Dark structures that are less than `across` high, gone; beyond the edges there is paper."""
    kernel = np.ones((across | 1, 1), np.uint8)
    light = cv2.dilate(plane, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=255)
    return cv2.erode(light, kernel)
