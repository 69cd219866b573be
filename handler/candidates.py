"""Other readings of an image whose plain one is in doubt: without its lines, and with its edges cut off.

ink that runs off the image, or along most of it -> lines painted over -> all of it, what lies inside the border lines,
and what is left when 8, 14 and 20 % are cut off each side -> a picture of each.

Which of them is right is not decided here: the model sees them all (vote.py).
"""

import cv2
import numpy as np

from canonical import Canonical, drawn
from ink import Ink, find_ink, noise_of
from levels import Levels
from rulings import painted_over

ODD = {"cluttered", "cropped", "several_shapes"}  # warnings of a reading that may be of more than the digit
CUTS = (0.08, 0.14, 0.2)  # of each side
LONG = 0.75  # of a side; ink that runs straight for so long may be a line. A digit with MNIST's margin has 0.72
SMALLEST = 16  # pixels; of an image with a shorter side there is nothing to spare


def in_doubt(ink: Ink, plain: Canonical) -> bool:
    """Whether the plain reading is odd, ink touches the frame, or runs along a row or column as a line would."""
    if ink.blank:
        return not ink.even
    return not ODD.isdisjoint(plain.warnings) or ink.cropped or _runs_long(ink.mask)


def others(ink: Ink, plain: Canonical) -> list[Canonical]:
    """Up to five readings beside the plain one; none where there are no lines and nothing could be cut off."""
    plane = ink.levels.grey(ink.levels.pixels[-2:][0])
    rulings = painted_over(plane, noise_of(plane))
    if not rulings.found and (not ink.cropped or "cluttered" in plain.warnings):
        return []
    left, top, right, bottom = rulings.inside
    inner = rulings.plane[top:bottom, left:right]
    found = [_reading(inner)] if inner.shape != plane.shape else []
    found += [_reading(rulings.plane)] if rulings.found else []
    if min(plane.shape) >= SMALLEST:
        found += [_reading(_less(rulings.plane, cut))._replace(cut=cut) for cut in CUTS]
    return found


def _reading(plane: np.ndarray) -> Canonical:
    return drawn(find_ink(Levels(plane)))


def _less(plane: np.ndarray, cut: float) -> np.ndarray:
    """The plane without this share of each side."""
    across, down = int(cut * plane.shape[1]), int(cut * plane.shape[0])
    return plane[down : plane.shape[0] - down, across : plane.shape[1] - across]


def _runs_long(mask: np.ndarray) -> bool:
    """Whether a row or a column of the mask, slightly sloping lines included, has an unbroken run of LONG."""
    height, width = mask.shape
    for along, across in ((int(LONG * width) + 1, (3, 1)), (int(LONG * height) + 1, (1, 3))):
        kernel = np.ones((along, 1) if across == (1, 3) else (1, along), np.uint8)
        thick = cv2.dilate(mask, np.ones(across, np.uint8))
        if cv2.countNonZero(cv2.erode(thick, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)):
            return True
    return False
