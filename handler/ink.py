"""Pixels of any image -> how much ink is where: one plane, paper 0, ink positive whatever its colour.

levels of grey -> paper: one level where the frame is even, as in most drawings; else a model of uneven paper
-> its difference from it, with the threshold between paper and ink, the level of full ink and the paper's noise.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from levels import Levels, misses_strokes, quantile, quantiles, ring
from paper import depth_of, find_paper

BLANK = 10.0  # grey levels; less contrast than this is no ink
SAMPLED = 32  # pixels of the shorter side; a sample tells levels as well as the whole
EVEN = 0.08  # of the contrast; nineteen twentieths of a frame that is paper of one level differ by less
OTHER = 0.3  # of the ink's contrast; what differs from the paper by more to the other side is ink, too
PALE = 0.15  # of full ink; on even paper so little is ink as well where it goes on from a stroke ...
EDGE = 14  # ... unless it is no farther from one than this part of the image's side: then it is the stroke's soft edge
SQUARE = np.ones((3, 3), np.uint8)


Rect = Sequence[int]  # left, top, width, height, as OpenCV's


class Ink(NamedTuple):
    """What `find_ink` found.

    levels: the image.
    paper: uint8 [h, w] of the smallest level, what it would be without ink; or one level.
    depth: uint8 [h, w], its ink; paper is 0.
    mask: uint8 [h, w], 255 where it is over the threshold, else 0.
    box: left, top, width and height of what the mask covers.
    sign: 1 where ink is lighter than paper, -1 where it is darker, 0 where both occur.
    threshold, level, noise: between paper and ink; of full ink; standard deviation of the paper. All in grey levels.
    even: whether the paper is of one level and the frame free of ink.
    firm: the mask without pale strokes, which are below the threshold; the mask itself where there are none.
    whole: whether the mask has all ink over the threshold, not only a part.
    """

    levels: Levels
    paper: np.ndarray | int
    depth: np.ndarray
    mask: np.ndarray
    box: Rect
    sign: int
    threshold: float
    level: float
    noise: float
    even: bool
    firm: np.ndarray
    whole: bool = True

    @property
    def blank(self) -> bool:
        return self.level < BLANK or self.level < 4 * self.noise

    @property
    def uneven(self) -> bool:
        """Whether the mask has pale strokes."""
        return self.firm is not self.mask

    @property
    def cropped(self) -> bool:
        """Whether ink runs off the image: along more than a twentieth of one of its edges."""
        return runs_off(self.mask, self.box)

    def within(self, plane: np.ndarray) -> np.ndarray:
        """A view of a plane, [h, w], cropped to the box."""
        left, top, width, height = self.box
        return plane[top : top + height, left : left + width]

    def mask_of(self, part: np.ndarray) -> np.ndarray:
        """Mask, uint8 [h, w], 255 or 0, of a part of the ink that is given as bool, cropped to the box."""
        mask = np.zeros_like(self.mask)
        self.within(mask)[:] = part * np.uint8(255)
        return mask

    def part(self, mask: np.ndarray) -> "Ink":
        """Only the ink in this mask, uint8 [h, w], 255 or 0."""
        return self._replace(mask=mask, box=cv2.boundingRect(mask), firm=mask, whole=False)


def find_ink(levels: Levels) -> Ink:
    """Ink in an image."""
    small = levels.small
    paper, sign, even, off = _even_paper(small)
    if not even:
        paper, sign = find_paper(small)
        off = quantile(ring(depth_of(small, paper, 0)), 0.5)
    depth = depth_of(small, paper, sign)
    noise = min(1.4826 * off, noise_of(small)) if off else 0.0
    threshold, level = _levels(depth, noise)
    _, mask = cv2.threshold(depth, threshold, 255, cv2.THRESH_BINARY)
    whole = _with_pale_strokes(depth, mask, max(PALE * level, 4 * noise)) if even else mask
    return Ink(levels, paper, depth, whole, cv2.boundingRect(whole), sign, threshold, level, noise, even, firm=mask)


def _with_pale_strokes(depth: np.ndarray, mask: np.ndarray, least: float) -> np.ndarray:
    """The mask, and what is over `least` and at most two pixels away from it or from what was added.

    A pencil presses unevenly, and a thin drawing that is reduced without smoothing gets pale and broken strokes.
    """
    _, pale = cv2.threshold(depth, least, 255, cv2.THRESH_BINARY)
    wide = max(max(depth.shape) // EDGE, 1) * 2 + 1
    if not cv2.countNonZero(cv2.subtract(pale, cv2.dilate(mask, np.ones((wide, wide), np.uint8)))):
        return mask
    groups = groups_of(pale)
    of_strokes = np.zeros(int(groups.max()) + 1, bool)
    of_strokes[groups[mask > 0]] = True
    return of_strokes[groups] * np.uint8(255)


def groups_of(mask: np.ndarray) -> np.ndarray:
    """Groups of parts with gaps of at most two pixels between them: their numbers, int32 [h, w], 0 where no ink is."""
    _, groups = cv2.connectedComponents(cv2.dilate(mask, SQUARE), connectivity=8)
    groups[mask == 0] = 0
    return groups


def _even_paper(small: np.ndarray) -> tuple[np.ndarray | int, int, bool, float]:
    """Level of the paper, sign of the ink, whether the frame is so even, and by how much half of it is off."""
    first, low_half, level, high_half, last = quantiles(ring(small), 0.025, 0.25, 0.5, 0.75, 0.975)
    low, high, _, _ = cv2.minMaxLoc(small)
    lighter, darker = high - level, level - low
    contrast = max(lighter, darker)
    even = last - first <= EVEN * contrast and min(lighter, darker) <= OTHER * contrast
    return level, 1 if lighter > darker else -1, bool(even), (high_half - low_half) / 2


def noise_of(plane: np.ndarray) -> float:
    """Standard deviation of the paper, from the differences of neighbours: light that falls off and lines are none."""
    if plane.shape[1] < 2:
        return 0.0
    step = max(plane.shape[0] // SAMPLED, 1)
    rows = plane[step // 2 :: step]
    return 1.05 * quantile(cv2.absdiff(rows[:, 1:], rows[:, :-1]), 0.5)


def _levels(depth: np.ndarray, noise: float) -> tuple[float, float]:
    """Threshold between paper and ink (Otsu's, within reason), level of full ink."""
    sample = np.ascontiguousarray(_sample(depth))
    otsu, _ = cv2.threshold(sample, 0, 255, cv2.THRESH_OTSU)
    threshold = max(otsu, 3 * noise)
    level = level_of(sample, threshold)
    return min(max(threshold, 0.4 * level), 0.6 * level), level


def level_of(depth: np.ndarray, threshold: float) -> float:
    """Depth of full ink: nine tenths of what is over the threshold have less."""
    ordered = np.sort(_sample(depth), axis=None, kind="stable")
    first = int(ordered.searchsorted(int(threshold), side="right"))
    return float(ordered[first + int(0.9 * (ordered.size - first - 1))]) if first < ordered.size else 0.0


def _sample(plane: np.ndarray) -> np.ndarray:
    step = max(min(plane.shape) // SAMPLED, 1)
    if step == 1:
        return plane
    sample = np.ascontiguousarray(plane[::step, ::step])
    return plane if misses_strokes(sample, plane) else sample


def runs_off(mask: np.ndarray, box: Rect) -> bool:
    """Whether the mask, which lies within the box, has more than a twentieth of one of the image's edges."""
    left, top, width, height = box
    if left and top and left + width < mask.shape[1] and top + height < mask.shape[0]:
        return False
    return any(cv2.countNonZero(edge) > 0.05 * edge.size for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
