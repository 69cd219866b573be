"""What a plane of grey levels would be without its ink, and whether ink is lighter or darker.

plane -> stripes, one level, a gradient, shadows: the first of these papers that explains the frame, else the best.
"""

import cv2
import numpy as np

from levels import RING, ring

EVEN = 0.08  # of the contrast; what four fifths of the ring may be off a paper that is believed
GRID = 64  # pixels; side of the square on which uneven paper is estimated
STROKE_REACH = 31  # pixels of it, odd; the window of the median that tells paper from strokes
SMALLEST_GRID = 16  # pixels; below this there is nothing to tell a gradient from a digit by
FULL = 0.75  # of the contrast; from here on a pixel of the ring is ink rather than a shadow
WIDE = 0.28  # of the picture's edge; an unbroken stretch longer than this is a shadow, not a stroke

Paper = tuple[np.ndarray, int]  # float32 [h, w] or [1, 1]; 1: ink is lighter, -1: darker, 0: both occur


def find_paper(small: np.ndarray) -> tuple[np.ndarray | int, int]:
    """Paper under a plane, uint8 [h, w], and the sign of the ink on it."""
    paper, sign = _find_paper(small.astype(np.float32))
    if paper.size == 1:
        return int(paper[0, 0]), sign
    return np.clip(paper + 0.5, 0, 255).astype(np.uint8), sign


def _find_paper(plane: np.ndarray) -> Paper:
    """The simplest paper that explains the ring, else the one that explains it best."""
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
    """How far the ring's paper is off, in contrasts; ink that runs off the picture is left out.

    Four fifths of it are judged, and all but a twentieth less strictly: a shadow's edge crosses the ring only twice.
    """
    away = np.abs(away)
    contrast = max(float(away.max()), 1e-6)
    if max(away.shape) < 2 * min(away.shape) and _longest_run(away > 0.5 * contrast) > WIDE:
        return 1.0
    reach = 2 * max(round(RING * min(away.shape)), 1) + 1
    inked = cv2.dilate((away > FULL * contrast).astype(np.uint8), np.ones((reach, reach), np.uint8))
    bare = ring(away)[ring(inked) == 0]
    return max(quantile(bare, 0.8), 0.6 * quantile(bare, 0.95)) / contrast if bare.size else 0.0


def _longest_run(mask: np.ndarray) -> float:
    """Longest unbroken stretch of `mask` along the picture's edge, as a share of the edge."""
    edge = np.concatenate([mask[0], mask[1:, -1], mask[-1, -2::-1], mask[-2:0:-1, 0]])
    gaps = np.flatnonzero(~edge)
    return float(np.diff(gaps, append=gaps[0] + edge.size).max() - 1) / edge.size if gaps.size else 1.0


def _bands(plane: np.ndarray) -> Paper | None:
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


def _flat(plane: np.ndarray) -> Paper:
    """One level all over: that of the class, dark or light, which has most of the ring; in doubt, of all."""
    low, high = float(plane.min()), float(plane.max())
    if high - low < 1:
        return np.full((1, 1), low, np.float32), 1
    scaled = ((plane - low) * (255 / (high - low))).astype(np.uint8)
    split, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    dark = scaled <= split
    share = ring(dark).mean()
    if 0.3 < share < 0.7:  # the digit runs off the picture: its corners and its whole are asked as well
        share = (share + dark[:: max(len(dark) - 1, 1), :: max(len(dark[0]) - 1, 1)].mean() + dark.mean()) / 3
    bare = ring(plane)[ring(dark) == (share > 0.5)]
    level = quantile(bare if bare.size else plane, 0.5)
    return np.full((1, 1), level, np.float32), 1 if share > 0.5 else -1


_Y, _X = np.mgrid[-1 : 1 : GRID * 1j, -1 : 1 : GRID * 1j]
_TERMS = np.stack([np.ones_like(_X), _X, _Y, _X * _Y, _X**2, _Y**2], axis=-1).astype(np.float32)
_OUTER = np.maximum(abs(_X), abs(_Y)) > 0.87


def _gradient(plane: np.ndarray) -> Paper:
    """Quadratic surface through the outer pixels, by iterated least absolute differences."""
    terms, values = _TERMS[_OUTER], _on_grid(plane)[_OUTER]
    weights = np.ones_like(values)
    for _ in range(6):
        weighted = terms * weights[:, None]
        fit = np.linalg.solve(weighted.T @ terms + 1e-3 * np.eye(6, dtype=np.float32), weighted.T @ values)
        weights = 1 / (np.abs(values - terms @ fit) + 2)
    paper = _from_grid((_TERMS @ fit).astype(np.float32), plane)
    return paper, _sign(plane - paper)


def _shadowed(plane: np.ndarray) -> Paper:
    """A wide median forgets strokes and keeps even the sharp edge of a shadow.

    What differs from it much is ink and filled from it, the rest is paper as it is.
    """
    grid = cv2.GaussianBlur(_on_grid(plane), (0, 0), 1)
    median = cv2.medianBlur(np.clip(grid, 0, 255).astype(np.uint8), STROKE_REACH).astype(np.float32)
    sign = _sign(grid - median)
    depth = depth_of(grid - median, sign)
    inked = cv2.dilate((depth > 0.25 * depth.max()).astype(np.uint8), np.ones((5, 5), np.uint8))
    paper = cv2.GaussianBlur(np.where(inked > 0, median, grid), (0, 0), 1)
    return _from_grid(paper, plane), sign


def _sign(away: np.ndarray) -> int:
    """Ink is where the extremes are: the sign of the third moment."""
    return 1 if float((away * away * away).sum()) > 0 else -1


def depth_of(away: np.ndarray, sign: int) -> np.ndarray:
    """Depth of ink of this sign, that differs from its paper by `away`."""
    return np.abs(away) if sign == 0 else sign * away


def _on_grid(plane: np.ndarray) -> np.ndarray:
    return cv2.resize(plane, (GRID, GRID), interpolation=cv2.INTER_AREA)


def _from_grid(paper: np.ndarray, plane: np.ndarray) -> np.ndarray:
    return cv2.resize(paper, plane.shape[::-1], interpolation=cv2.INTER_LINEAR)


def quantile(values: np.ndarray, share: float) -> float:
    """As numpy's, to the next lower value; sorting is faster where many are equal, as on paper."""
    values = np.sort(values, axis=None)
    return float(values[int(share * (values.size - 1))])
