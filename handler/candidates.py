"""Other readings of an image: of other shapes, and where there may be lines without them and with the edges cut off.

ink that runs off the image or looks like a line or a frame -> lines painted over -> all of it, what lies inside the
border lines, and what is left when 8, 14 and 20 % are cut off each side -> a picture of each, after those of shapes.py
and before those of shading.py.

Which of them is right is not decided here: the model sees them all (vote.py).
"""

import cv2
import numpy as np

import shading
import shapes
from canonical import Canonical, read_from
from ink import Ink, noise_of
from rulings import painted_over

ODD = {"cluttered", "cropped", "several_shapes"}  # warnings of a reading that may be of more than the digit
CUTS = (0.08, 0.14, 0.2)  # of each side ...
CUT = 7.0  # ... and what counts in the vote where all is cut off
LONG = 0.75  # of a side; ink that runs straight for so long may be a line: a digit with MNIST's margin has 0.72
SLOPE = 0.04  # rise over run of such a line: 2.3 degrees
FRAME = 0.5  # of a side at least; ink that covers three of its own sides may be a frame ...
BORDER = 0.6  # ... each of them for so much of its length ...
STRIP = 0.06  # ... within so much of the ink's height or width
SMALLEST = 16  # pixels; of an image with a shorter side there is nothing to spare


def others(ink: Ink, plain: Canonical) -> list[Canonical]:
    """Up to fourteen readings beside the plain one; none of most images."""
    if ink.blank:
        return [] if ink.even else _without_lines(ink, plain)
    may_have_lines = not ODD.isdisjoint(plain.warnings) or ink.cropped or _has_lines(ink)
    without_lines = _without_lines(ink, plain) if may_have_lines else []
    is_empty = any("blank" in reading.warnings for reading in without_lines)  # uneven light is all that is left
    return shapes.others(ink, plain) + without_lines + ([] if is_empty else shading.others(ink))


def _without_lines(ink: Ink, plain: Canonical) -> list[Canonical]:
    """Up to five readings; none where there are no lines and nothing could be cut off."""
    plane = ink.levels.grey(ink.levels.pixels[-2:][0])
    rulings = painted_over(plane, noise_of(plane))
    if not rulings.found and (not ink.cropped or "cluttered" in plain.warnings):
        return []
    left, top, right, bottom = rulings.inside
    inner = rulings.plane[top:bottom, left:right]
    found = [read_from(inner)] if inner.shape != plane.shape else []
    found += [read_from(rulings.plane)] if rulings.found else []
    if min(plane.shape) >= SMALLEST:
        found += [read_from(_less(rulings.plane, cut), CUT * cut) for cut in CUTS]
    return found


def _less(plane: np.ndarray, cut: float) -> np.ndarray:
    """The plane without this share of each side."""
    across, down = int(cut * plane.shape[1]), int(cut * plane.shape[0])
    return plane[down : plane.shape[0] - down, across : plane.shape[1] - across]


def _has_lines(ink: Ink) -> bool:
    """Whether the mask has an unbroken run of LONG along rows or columns, or looks like a frame."""
    mask, (_, _, wide, high) = ink.mask, ink.box
    height, width = mask.shape
    if (wide > LONG * width and _has_run(mask)) or (high > LONG * height and _has_run(cv2.transpose(mask))):
        return True
    return min(wide / width, high / height) > FRAME and _is_frame(ink.within(mask))


def _has_run(mask: np.ndarray) -> bool:
    """Whether a row of the mask, or a line that slopes by up to SLOPE, has an unbroken run of LONG."""
    width = mask.shape[1]
    thick = cv2.dilate(mask, np.ones((int(SLOPE * width) + 3, 3), np.uint8))
    run = cv2.erode(thick, np.ones((1, int(LONG * width) + 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return bool(cv2.countNonZero(run))


def _is_frame(ink: np.ndarray) -> bool:
    """Whether ink, cropped to its box, covers most of three of its sides, gaps or not."""
    height, width = ink.shape
    down, across = max(round(STRIP * height), 2), max(round(STRIP * width), 2)
    rows = [cv2.countNonZero(cv2.reduce(strip, 0, cv2.REDUCE_MAX)) for strip in (ink[:down], ink[-down:])]
    if max(rows) <= BORDER * width:  # as of most digits
        return False
    columns = [cv2.countNonZero(cv2.reduce(strip, 1, cv2.REDUCE_MAX)) for strip in (ink[:, :across], ink[:, -across:])]
    return sum(row > BORDER * width for row in rows) + sum(column > BORDER * height for column in columns) > 2
