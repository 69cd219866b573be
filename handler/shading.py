"""Other readings of an image in a light that its frame does not tell of: shadows that end inside, glare, a lamp.

grey levels, without strokes by closing (dark ones) and by opening (light ones) -> where the paper that was found
explains neither, their quotients with the image: dark strokes and light ones as in an even light -> a picture of each

Closing and opening against uneven illumination: P. Soille, Morphological Image Analysis, Springer 2003.
"""

import cv2
import numpy as np

from canonical import Canonical, read_from
from ink import Ink

SMALLEST = 40  # pixels; an image with a shorter side has too few to tell light from strokes
BROADEST = 0.25  # of the shorter side; no stroke is broader, so what a square of this side leaves is the light
UNEXPLAINED = 0.2  # of the ink's contrast; the paper does not explain light that differs from it by more
PART = 0.02  # of the image; if less of it is unexplained, the paper is believed
STROKES = (0.17, 0.08)  # of the shorter side; diameters of discs: strokes are narrower, patches of light are broader
DOUBTS = (0.0, 1.0)  # cost in the vote of what each disc leaves: a small one hollows out broad strokes
BARE = 235  # grey level of paper without ink
LIFTED = 100  # grey levels of ink that is twice as light as what it is on


def others(ink: Ink) -> list[Canonical]:
    """Four readings of an image in uneven light; none of most images."""
    plane = ink.levels.small
    if ink.even or min(plane.shape) < SMALLEST or _is_explained(ink):
        return []
    found = []
    for broad, doubt in zip(STROKES, DOUBTS, strict=True):
        side = int(broad * min(plane.shape)) | 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        lit, dim = cv2.morphologyEx(plane, cv2.MORPH_CLOSE, disc), cv2.morphologyEx(plane, cv2.MORPH_OPEN, disc)
        dark = cv2.divide(plane, lit, scale=BARE)
        light = cv2.divide(cv2.subtract(plane, dim), np.maximum(dim, 1), scale=LIFTED)
        found += [read_from(dark, doubt), read_from(light, doubt)]
    return [reading for reading in found if "blank" not in reading.warnings]


def _is_explained(ink: Ink) -> bool:
    """Whether the paper is what is left without strokes, dark or light."""
    plane = ink.levels.small
    square = np.ones((int(BROADEST * min(plane.shape)) | 1,) * 2, np.uint8)
    paper = np.full(plane.shape, ink.paper, np.uint8) if isinstance(ink.paper, int) else ink.paper
    for operation in (cv2.MORPH_CLOSE, cv2.MORPH_OPEN):
        off = cv2.absdiff(cv2.morphologyEx(plane, operation, square), paper)
        _, unexplained = cv2.threshold(off, UNEXPLAINED * ink.level, 255, cv2.THRESH_BINARY)
        if cv2.countNonZero(unexplained) < PART * plane.size:
            return True
    return False
