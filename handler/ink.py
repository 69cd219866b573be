"""Pixels of any picture -> how much ink is where: one plane, paper 0, ink positive whatever its colour.

transparency, colours -> one plane -> paper (flat, a gradient, or uneven) -> its difference from it, with the threshold
between paper and ink, the level of full ink and the paper's noise.
"""

from typing import NamedTuple

import cv2
import numpy as np

LOCATE_SIDE = 256  # pixels; paper and ink are told apart in a picture reduced to this
RING = 0.04  # of the shorter side; the frame taken for paper
EVEN = 0.08  # of the contrast; what four fifths of the ring may be off a paper that is believed
GRID = 64  # pixels; side of the square on which uneven paper is estimated
STROKE_REACH = 31  # pixels of it, odd; the window of the median that tells paper from strokes
SMALLEST_GRID = 16  # pixels; below this there is nothing to tell a gradient from a digit by
FULL = 0.75  # of the contrast; from here on a pixel of the ring is ink rather than a shadow
WIDE = 0.28  # of the picture's edge; an unbroken stretch longer than this is a shadow, not a stroke
BLANK = 10.0  # grey levels; less contrast than this is no ink


class Ink(NamedTuple):
    """What `find_ink` found.

    plane: float32 [h, w], the picture along the axis on which ink and paper differ most, 0..255.
    paper: float32 [h', w'] or [1, 1], what the reduced plane would be without ink.
    depth: float32 [h', w'], ink of the reduced plane; paper is about 0.
    sign: 1 where ink is lighter than paper, -1 where it is darker, 0 where both occur.
    threshold, level, noise: between paper and ink; of full ink; standard deviation of the paper. Same units.
    """

    plane: np.ndarray
    paper: np.ndarray
    depth: np.ndarray
    sign: int
    threshold: float
    level: float
    noise: float

    @property
    def blank(self) -> bool:
        return self.level < BLANK or self.level < 4 * self.noise

    @property
    def factor(self) -> float:
        """How many pixels of `plane` one of `depth` is wide."""
        return max(self.plane.shape) / max(self.depth.shape)


def find_ink(pixels: np.ndarray) -> Ink:
    """Ink in uint8 pixels [h, w], [h, w, 3] (either order of colours) or [h, w, 4] (alpha last)."""
    plane = _one_plane(pixels)
    small = _at_most(plane, LOCATE_SIDE)
    paper, sign = _paper(small)
    depth = depth_of(small, paper, sign)
    return Ink(plane, paper, depth, sign, *_levels(depth))


def depth_of(plane: np.ndarray, paper: np.ndarray, sign: int) -> np.ndarray:
    """How far `plane` is from `paper` towards the ink, float32."""
    away = plane - paper
    return np.abs(away) if sign == 0 else sign * away


def _one_plane(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 2:
        return pixels.astype(np.float32)
    if pixels.shape[2] == 4:
        return _without_alpha(pixels)
    return _along_ink(pixels.astype(np.float32))


def _without_alpha(pixels: np.ndarray) -> np.ndarray:
    """A drawing on a transparent ground: its alpha, if it is of one colour; else laid on its own median colour."""
    alpha = pixels[:, :, 3].astype(np.float32)
    colours = pixels[:, :, :3].astype(np.float32)
    shown = alpha > 127
    if not shown.any():
        return alpha
    median = np.median(colours[shown], axis=0)
    spread = np.abs(colours[shown] - median).max(axis=1)
    if (spread > 48).mean() < 0.02 and not shown.all():  # one colour: the shape is in the alpha
        return alpha
    share = alpha[:, :, None] / 255
    return _along_ink(colours * share + median * (1 - share))


def _along_ink(colours: np.ndarray) -> np.ndarray:
    """Projection, float32 [h, w], of colours [h, w, 3] on the axis along which they differ most from the frame's."""
    away = (colours - np.median(_ring(colours), axis=0)).reshape(-1, 3)
    away = away[:: max(len(away) // 20_000, 1)]
    _, axes = np.linalg.eigh(away.T @ away)
    axis = axes[:, -1]
    return colours @ (axis / np.abs(axis).sum() * (1 if axis.sum() >= 0 else -1))


def _ring(plane: np.ndarray) -> np.ndarray:
    """The outermost pixels, [n] or [n, channels]."""
    height, width = plane.shape[:2]
    deep = max(round(RING * min(height, width)), 1)
    sides = plane[:deep], plane[-deep:], plane[deep:-deep, :deep], plane[deep:-deep, -deep:]
    return np.concatenate([side.reshape(-1, *plane.shape[2:]) for side in sides])


def _at_most(plane: np.ndarray, side: int) -> np.ndarray:
    factor = max(plane.shape) / side
    if factor <= 1:
        return plane
    size = max(round(plane.shape[1] / factor), 1), max(round(plane.shape[0] / factor), 1)
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA)


def _paper(plane: np.ndarray) -> tuple[np.ndarray, int]:
    """Paper and the ink's sign: the simplest paper that explains the ring, else the one that explains it best."""
    if min(plane.shape) < SMALLEST_GRID:
        return _flat(plane)
    best = np.inf, plane, 1
    for kind in (_bands, _flat, _gradient, _shadowed):
        if (found := kind(plane)) is None:
            continue
        paper, sign = found
        off = _unexplained(plane - paper)
        if off < EVEN:
            return paper, sign
        if off < 0.5 * best[0]:  # a more supple paper has to be much better
            best = off, paper, sign
    return best[1:]


def _unexplained(away: np.ndarray) -> float:
    """How far four fifths of the ring's paper are off, in contrasts; ink that runs off the picture is left out."""
    away = np.abs(away)
    contrast = max(float(away.max()), 1e-6)
    if max(away.shape) < 2 * min(away.shape) and _longest_run(away > 0.5 * contrast) > WIDE:
        return 1.0
    reach = 2 * max(round(RING * min(away.shape)), 1) + 1
    inked = cv2.dilate((away > FULL * contrast).astype(np.uint8), np.ones((reach, reach), np.uint8))
    bare = _ring(away)[_ring(inked) == 0]
    return float(np.quantile(bare, 0.8)) / contrast if bare.size else 0.0


def _longest_run(mask: np.ndarray) -> float:
    """Longest unbroken stretch of `mask` along the picture's edge, as a share of the edge."""
    edge = np.concatenate([mask[0], mask[1:, -1], mask[-1, -2::-1], mask[-2:0:-1, 0]])
    gaps = np.flatnonzero(~edge)
    return float(np.diff(gaps, append=gaps[0] + edge.size).max() - 1) / edge.size if gaps.size else 1.0


def _sign(away: np.ndarray) -> int:
    """Ink is where the extremes are: the sign of the third moment."""
    return 1 if float((away * away * away).sum()) > 0 else -1


def _flat(plane: np.ndarray) -> tuple[np.ndarray, int]:
    """One level all over: that of the class, dark or light, which has most of the ring; in doubt, of all."""
    low, high = float(plane.min()), float(plane.max())
    if high - low < 1:
        return np.full((1, 1), low, np.float32), 1
    scaled = ((plane - low) * (255 / (high - low))).astype(np.uint8)
    split, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    dark = scaled <= split
    share = _ring(dark).mean()
    if 0.3 < share < 0.7:  # the digit runs off the picture: its corners and its whole are asked as well
        share = (share + dark[:: len(dark) - 1, :: len(dark[0]) - 1].mean() + dark.mean()) / 3
    ring = _ring(plane)[_ring(dark) == (share > 0.5)]
    level = np.median(ring if ring.size else plane)
    return np.full((1, 1), level, np.float32), 1 if share > 0.5 else -1


def _bands(plane: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Stripes that run through the whole picture, if there are; ink may be lighter in one and darker in the next."""
    contrast = float(plane.max() - plane.min())
    for first, last, uneven in (
        (plane[:1], plane[-1:], _unevenness(plane.T)),
        (plane[:, :1], plane[:, -1:], _unevenness(plane)),
    ):
        paper = (first + last) / 2
        if paper.max() - paper.min() < 0.5 * contrast or uneven > EVEN * contrast:
            continue
        away = np.abs(plane - paper)
        less = away.mean() < 0.6 * np.abs(plane - np.median(first)).mean()  # or strokes look like stripes
        if less and np.abs(first - last).mean() < EVEN * contrast and away.max() > 0.8 * contrast:
            return np.broadcast_to(paper, plane.shape).astype(np.float32), 0
    return None


def _unevenness(plane: np.ndarray) -> float:
    """Mean difference within the first and within the last row."""
    return float(np.mean([np.abs(row - np.median(row)).mean() for row in (plane[0], plane[-1])]))


def _on_grid(plane: np.ndarray) -> np.ndarray:
    return cv2.resize(plane, (GRID, GRID), interpolation=cv2.INTER_AREA)


def _from_grid(paper: np.ndarray, plane: np.ndarray) -> np.ndarray:
    return cv2.resize(paper, plane.shape[::-1], interpolation=cv2.INTER_LINEAR)


_Y, _X = np.mgrid[-1 : 1 : GRID * 1j, -1 : 1 : GRID * 1j]
_TERMS = np.stack([np.ones_like(_X), _X, _Y, _X * _Y, _X**2, _Y**2], axis=-1).astype(np.float32)
_OUTER = np.maximum(abs(_X), abs(_Y)) > 0.87


def _gradient(plane: np.ndarray) -> tuple[np.ndarray, int]:
    """Quadratic surface through the outer pixels, by iterated least absolute differences."""
    terms, values = _TERMS[_OUTER], _on_grid(plane)[_OUTER]
    weights = np.ones_like(values)
    for _ in range(6):
        weighted = terms * weights[:, None]
        fit = np.linalg.solve(weighted.T @ terms + 1e-3 * np.eye(6, dtype=np.float32), weighted.T @ values)
        weights = 1 / (np.abs(values - terms @ fit) + 2)
    paper = _from_grid((_TERMS @ fit).astype(np.float32), plane)
    return paper, _sign(plane - paper)


def _shadowed(plane: np.ndarray) -> tuple[np.ndarray, int]:
    """A wide median forgets strokes and keeps even the sharp edge of a shadow.

    What differs from it much is ink and filled from it, the rest is paper as it is.
    """
    grid = cv2.GaussianBlur(_on_grid(plane), (0, 0), 1)
    median = cv2.medianBlur(np.clip(grid, 0, 255).astype(np.uint8), STROKE_REACH).astype(np.float32)
    sign = _sign(grid - median)
    depth = depth_of(grid, median, sign)
    inked = cv2.dilate((depth > 0.25 * depth.max()).astype(np.uint8), np.ones((5, 5), np.uint8))
    paper = cv2.GaussianBlur(np.where(inked > 0, median, grid), (0, 0), 1)
    return _from_grid(paper, plane), sign


def _levels(depth: np.ndarray) -> tuple[float, float, float]:
    """Threshold between paper and ink (Otsu's, within reason), level of full ink, noise of the paper."""
    noise = 1.4826 * float(np.median(np.abs(_ring(depth))))
    top = float(depth.max())
    if top < 2:
        return 1.0, 0.0, noise
    counted = np.clip(depth * (255 / top), 0, 255).astype(np.uint8)
    otsu, _ = cv2.threshold(counted, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    threshold = max(otsu * top / 255, 3 * noise)
    inked = depth[depth > threshold]
    level = float(np.quantile(inked, 0.9)) if inked.size else 0.0
    return min(max(threshold, 0.4 * level), 0.6 * level), level, noise
