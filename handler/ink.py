"""Pixels of any image -> how much ink is where: one plane, paper 0, ink positive whatever its colour.

levels of grey -> paper: one level where the frame is even, as in most drawings; else a model of uneven paper
-> its difference from it, with the threshold between paper and ink, the level of full ink and the paper's noise.
"""

from typing import NamedTuple

import cv2
import numpy as np

from levels import Levels, ring
from paper import find_paper

BLANK = 10.0  # grey levels; less contrast than this is no ink
EVEN = 0.08  # of the contrast; nineteen twentieths of a frame that is paper of one level differ by less
OTHER = 0.3  # of the ink's contrast; what differs from the paper by more to the other side is ink, too


class Ink(NamedTuple):
    """What `find_ink` found.

    levels: the image.
    paper: uint8 [h, w] of the smallest level, what it would be without ink; or one level.
    depth: uint8 [h, w], its ink; paper is 0.
    mask: uint8 [h, w], 255 where it is over the threshold, else 0.
    sign: 1 where ink is lighter than paper, -1 where it is darker, 0 where both occur.
    threshold, level, noise: between paper and ink; of full ink; standard deviation of the paper. All in grey levels.
    even: whether the paper is of one level and the frame free of ink.
    """

    levels: Levels
    paper: np.ndarray | int
    depth: np.ndarray
    mask: np.ndarray
    sign: int
    threshold: float
    level: float
    noise: float
    even: bool

    @property
    def blank(self) -> bool:
        return self.level < BLANK or self.level < 4 * self.noise

    @property
    def cropped(self) -> bool:
        """Whether ink runs off the image: along more than a twentieth of one of its edges."""
        return runs_off(self.mask)


def find_ink(levels: Levels) -> Ink:
    """Ink in an image."""
    small = levels.small
    paper: np.ndarray | int
    paper, sign, even = _even_paper(small)
    if not even:
        paper, sign = find_paper(small)
    depth = depth_of(small, paper, sign)
    noise = min(noise_of(small), 1.4826 * float(np.median(ring(cv2.absdiff(small, paper)))))
    threshold, level = _levels(depth, noise)
    _, mask = cv2.threshold(depth, threshold, 255, cv2.THRESH_BINARY)
    return Ink(levels, paper, depth, mask, sign, threshold, level, noise, even)


def depth_of(plane: np.ndarray, paper: np.ndarray | int, sign: int) -> np.ndarray:
    """Depth of ink of this sign, uint8 [h, w], in a plane that lies on `paper`."""
    if sign > 0:
        return cv2.subtract(plane, paper)
    return cv2.subtract(paper, plane) if sign < 0 else cv2.absdiff(plane, paper)


def _even_paper(small: np.ndarray) -> tuple[int, int, bool]:
    """Level of the paper, sign of the ink, and whether the frame says that this is so."""
    frame = np.sort(ring(small))
    n = len(frame) - 1
    level = int(frame[n // 2])
    low, high, _, _ = cv2.minMaxLoc(small)
    lighter, darker = high - level, level - low
    contrast = max(lighter, darker)
    even = frame[int(0.975 * n)] - float(frame[int(0.025 * n)]) <= EVEN * contrast and (
        min(lighter, darker) <= OTHER * contrast
    )
    return level, 1 if lighter > darker else -1, bool(even)


def noise_of(plane: np.ndarray) -> float:
    """Standard deviation of the paper, from the differences of neighbours: light that falls off and lines are none."""
    if plane.shape[1] < 2:
        return 0.0
    step = max(plane.shape[0] // 32, 1)
    rows = plane[step // 2 :: step]
    away = np.sort(cv2.absdiff(rows[:, 1:], rows[:, :-1]), axis=None)
    return 1.05 * float(away[len(away) // 2])


def _levels(depth: np.ndarray, noise: float) -> tuple[float, float]:
    """Threshold between paper and ink (Otsu's, within reason), level of full ink."""
    otsu, _ = cv2.threshold(depth, 0, 255, cv2.THRESH_OTSU)
    threshold = max(otsu, 3 * noise)
    level = level_of(depth, threshold)
    return min(max(threshold, 0.4 * level), 0.6 * level), level


def level_of(depth: np.ndarray, threshold: float) -> float:
    """Depth of full ink: nine tenths of what is over the threshold have less."""
    inked = np.sort(depth[depth > threshold])
    return float(inked[int(0.9 * (len(inked) - 1))]) if len(inked) else 0.0


def runs_off(mask: np.ndarray) -> bool:
    """Whether the mask has more than a twentieth of one of the image's edges."""
    return any(cv2.countNonZero(edge) > 0.05 * edge.size for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
