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
COLOURFUL = 48  # levels of a channel; ink that varies by more is of several colours
BLANK = 10.0  # grey levels; less contrast than this is no ink


class Ink(NamedTuple):
    """What `find_ink` found.

    pixels: uint8 [h, w] or [h, w, 3], opaque.
    small: the same reduced by `factor`, uint8 [h', w'] or [h', w', 3]; what follows was found in it.
    axis: float32 [3], the axis of colour on which ink and paper differ most; None for grey.
    paper: float32 [h', w'] or [1, 1], what it would be without ink, along that axis.
    depth: float32 [h', w'], its ink; paper is about 0.
    sign: 1 where ink is lighter than paper, -1 where it is darker, 0 where both occur.
    threshold, level, noise: between paper and ink; of full ink; standard deviation of the paper. All in grey levels.
    """

    pixels: np.ndarray
    small: np.ndarray
    factor: int
    axis: np.ndarray | None
    paper: np.ndarray
    depth: np.ndarray
    sign: int
    threshold: float
    level: float
    noise: float

    @property
    def blank(self) -> bool:
        return self.level < BLANK or self.level < 4 * self.noise

    def depth_in(self, pixels: np.ndarray, paper: np.ndarray) -> np.ndarray:
        """Depth of the ink, float32 [h, w], in a part of the picture that lies on `paper`."""
        away = _along(pixels, self.axis) - paper
        return np.abs(away) if self.sign == 0 else self.sign * away


def find_ink(pixels: np.ndarray) -> Ink:
    """Ink in uint8 pixels [h, w], [h, w, 3] (either order of colours) or [h, w, 4] (alpha last)."""
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        pixels = _opaque(pixels)
    small, factor = _at_most(pixels, LOCATE_SIDE)
    axis = None if small.ndim == 2 else _axis(small)
    plane = _along(small, axis)
    paper, sign = _paper(plane)
    depth = _depth(plane - paper, sign)
    return Ink(pixels, small, factor, axis, paper, depth, sign, *_levels(depth))


def _depth(away: np.ndarray, sign: int) -> np.ndarray:
    return np.abs(away) if sign == 0 else sign * away


def _opaque(pixels: np.ndarray) -> np.ndarray:
    """A drawing on a transparent ground: its alpha, if it is of one colour; else laid on its own median colour."""
    alpha, colours = pixels[:, :, 3], pixels[:, :, :3]
    step = max(max(alpha.shape) // LOCATE_SIDE, 1)  # a sample tells as well as the whole
    shown = colours[::step, ::step][alpha[::step, ::step] > 127].astype(np.int16)
    if not len(shown):
        return alpha
    median = np.median(shown, axis=0)
    varied = (np.abs(shown - median).max(axis=1) > COLOURFUL).mean() > 0.02
    if not varied and alpha.min() < 128:  # one colour: the shape is in the alpha
        return alpha
    share = alpha[:, :, None].astype(np.float32) / 255
    return (colours * share + median.astype(np.float32) * (1 - share)).astype(np.uint8)


def _axis(pixels: np.ndarray) -> np.ndarray:
    """The axis, float32 [3], along which colours differ most from the frame's; its absolute parts sum to 1."""
    away = (pixels - np.median(_ring(pixels), axis=0).astype(np.float32)).reshape(-1, 3)
    _, axes = np.linalg.eigh(away.T @ away)
    axis = axes[:, -1]
    return axis / np.abs(axis).sum() * (1 if axis.sum() >= 0 else -1)


def _along(pixels: np.ndarray, axis: np.ndarray | None) -> np.ndarray:
    """Float32 [h, w] of grey or coloured pixels."""
    return pixels.astype(np.float32) if axis is None else cv2.transform(pixels.astype(np.float32), axis[None, :])


def _quantile(values: np.ndarray, share: float) -> float:
    """As numpy's, to the next lower value; a tenth of its time on the few hundred values of a ring."""
    values = values.ravel()
    at = int(share * (values.size - 1))
    return float(np.partition(values, at)[at])


def _ring(plane: np.ndarray) -> np.ndarray:
    """The outermost pixels, [n] or [n, channels]."""
    height, width = plane.shape[:2]
    deep = max(round(RING * min(height, width)), 1)
    sides = plane[:deep], plane[-deep:], plane[deep:-deep, :deep], plane[deep:-deep, -deep:]
    return np.concatenate([side.reshape(-1, *plane.shape[2:]) for side in sides])


def _at_most(pixels: np.ndarray, side: int) -> tuple[np.ndarray, int]:
    """Box-filtered by the least whole factor that brings both sides to at most `side`, and the factor."""
    height, width = pixels.shape[:2]
    factor = -(-max(height, width) // side)
    if factor == 1:
        return pixels, 1
    size = max(width // factor, 1), max(height // factor, 1)
    # A remainder of a few pixels is cut off: by a whole factor OpenCV is several times as fast.
    whole = pixels[: max(size[1] * factor, 1), : max(size[0] * factor, 1)]
    return cv2.resize(whole, size, interpolation=cv2.INTER_AREA), factor


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
    """How far the ring's paper is off, in contrasts; ink that runs off the picture is left out.

    Four fifths of it are judged, and all but a twentieth less strictly: a shadow's edge crosses the ring only twice.
    """
    away = np.abs(away)
    contrast = max(float(away.max()), 1e-6)
    if max(away.shape) < 2 * min(away.shape) and _longest_run(away > 0.5 * contrast) > WIDE:
        return 1.0
    reach = 2 * max(round(RING * min(away.shape)), 1) + 1
    inked = cv2.dilate((away > FULL * contrast).astype(np.uint8), np.ones((reach, reach), np.uint8))
    bare = _ring(away)[_ring(inked) == 0]
    return max(_quantile(bare, 0.8), 0.6 * _quantile(bare, 0.95)) / contrast if bare.size else 0.0


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
        share = (share + dark[:: max(len(dark) - 1, 1), :: max(len(dark[0]) - 1, 1)].mean() + dark.mean()) / 3
    ring = _ring(plane)[_ring(dark) == (share > 0.5)]
    level = _quantile(ring if ring.size else plane, 0.5)
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
    depth = _depth(grid - median, sign)
    inked = cv2.dilate((depth > 0.25 * depth.max()).astype(np.uint8), np.ones((5, 5), np.uint8))
    paper = cv2.GaussianBlur(np.where(inked > 0, median, grid), (0, 0), 1)
    return _from_grid(paper, plane), sign


def _levels(depth: np.ndarray) -> tuple[float, float, float]:
    """Threshold between paper and ink (Otsu's, within reason), level of full ink, noise of the paper."""
    noise = 1.4826 * _quantile(np.abs(_ring(depth)), 0.5)
    top = float(depth.max())
    if top < 2:
        return 1.0, 0.0, noise
    counted = np.clip(depth * (255 / top), 0, 255).astype(np.uint8)
    otsu, _ = cv2.threshold(counted, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    threshold = max(otsu * top / 255, 3 * noise)
    inked = depth[depth > threshold]
    level = _quantile(inked, 0.9) if inked.size else 0.0
    return min(max(threshold, 0.4 * level), 0.6 * level), level, noise
