"""What a plane of grey levels would be without its ink, and whether ink is lighter or darker.

plane -> stripes, one level, a gradient, shadows: the first of these papers that explains the frame, else the best.
"""

import cv2
import numpy as np

from levels import RING, quantile, quantiles, ring, shrunk

EVEN = 0.08  # of the contrast; what four fifths of the ring may be off a paper that is believed
SMALLEST = 16  # pixels; of a plane with a shorter side nothing tells a gradient from a digit
GRID = 16  # pixels; side of the square on which a gradient is fitted
ROUNDS = 3  # of weighing anew what the gradient leaves
FINER = 48  # pixels; side of the square on which shadows are estimated
STROKE_REACH = 23  # pixels of it, odd; the window of the median that tells paper from strokes
FULL = 0.75  # of the contrast; from here on a pixel of the ring is ink rather than a shadow
WIDE = 0.28  # of the picture's edge; an unbroken stretch longer than this is a shadow, not a stroke

Paper = tuple[np.ndarray | int, int]  # uint8 [h, w] or one level; 1: ink is lighter, -1: darker, 0: both occur


def find_paper(plane: np.ndarray) -> Paper:
    """Paper under a plane, uint8 [h, w]: the simplest that explains the ring, else the one that explains it best."""
    if min(plane.shape) < SMALLEST:
        return _flat(plane)
    least, best = np.inf, None
    for kind in (_bands, _flat, _gradient, _shadowed):
        if (found := kind(plane)) is None:
            continue
        off = _unexplained(cv2.absdiff(plane, found[0]))
        if off < EVEN:
            return found
        if off < 0.5 * least:  # a more supple paper has to be much better
            least, best = off, found
    return best or _flat(plane)


def depth_of(plane: np.ndarray, paper: np.ndarray | int, sign: int) -> np.ndarray:
    """Depth of ink of this sign, uint8 [h, w], in a plane that lies on `paper`."""
    if isinstance(paper, int):  # OpenCV takes twice as long for a number as for a plane
        paper = np.full(plane.shape, paper, np.uint8)
    if sign > 0:
        return cv2.subtract(plane, paper)
    return cv2.subtract(paper, plane) if sign < 0 else cv2.absdiff(plane, paper)


def _unexplained(away: np.ndarray) -> float:
    """How far the ring's paper is off, in contrasts; ink that runs off the picture is left out.

    Four fifths of it are judged, and all but a twentieth less strictly: a shadow's edge crosses the ring only twice.
    """
    contrast = max(cv2.minMaxLoc(away)[1], 1.0)
    if max(away.shape) < 2 * min(away.shape) and _longest_run(away, 0.5 * contrast) > WIDE:
        return 1.0
    reach = 2 * max(round(RING * min(away.shape)), 1) + 1
    _, inked = cv2.threshold(away, FULL * contrast, 1, cv2.THRESH_BINARY)
    bare = ring(away)[ring(cv2.dilate(inked, np.ones((reach, reach), np.uint8))) == 0]
    if not bare.size:
        return 0.0
    most, nearly_all = quantiles(bare, 0.8, 0.95)
    return max(most, 0.6 * nearly_all) / contrast


def _longest_run(away: np.ndarray, least: float) -> float:
    """Longest unbroken stretch along the picture's edge that is over `least`, as a share of the edge."""
    edge = np.concatenate([away[0], away[1:, -1], away[-1, -2::-1], away[-2:0:-1, 0]])
    gaps = np.flatnonzero(edge <= least)
    if not gaps.size:
        return 1.0
    around = edge.size - int(gaps[-1]) + int(gaps[0])
    return (max(around, int((gaps[1:] - gaps[:-1]).max(initial=0))) - 1) / edge.size


def _bands(plane: np.ndarray) -> Paper | None:
    """Stripes that run through the whole picture, if there are; ink may be lighter in one and darker in the next."""
    low, high, _, _ = cv2.minMaxLoc(plane)
    contrast = high - low
    for along in (plane, cv2.transpose(plane)):  # stripes along its columns
        first, last = along[0].astype(np.int16), along[-1].astype(np.int16)
        paper = (first + last) // 2
        if int(paper.max()) - int(paper.min()) < 0.5 * contrast or np.abs(first - last).mean() > EVEN * contrast:
            continue
        edges = along[:, 0], along[:, -1]
        if sum(np.abs(edge - float(quantile(edge, 0.5))).mean() for edge in edges) > 2 * EVEN * contrast:
            continue
        whole = np.repeat(paper[None].astype(np.uint8), len(along), axis=0)
        away = cv2.absdiff(along, whole)
        less = cv2.mean(away)[0] < 0.6 * cv2.mean(cv2.absdiff(along, quantile(along[0], 0.5)))[0]
        if less and cv2.minMaxLoc(away)[1] > 0.8 * contrast:  # or strokes look like stripes
            return (whole if along is plane else cv2.transpose(whole)), 0
    return None


def _flat(plane: np.ndarray) -> Paper:
    """One level all over: that of the class, dark or light, which has most of the ring; in doubt, of all."""
    split, dark = cv2.threshold(plane, 0, 1, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
    frame = ring(plane)
    share = np.count_nonzero(frame <= split) / frame.size
    if 0.3 < share < 0.7:  # the digit runs off the picture: its corners and its whole are asked as well
        corners = dark[:: max(len(dark) - 1, 1), :: max(len(dark[0]) - 1, 1)]
        share = (share + float(corners.mean()) + cv2.mean(dark)[0]) / 3
    bare = frame[(frame <= split) == (share > 0.5)]
    return quantile(bare if bare.size else plane, 0.5), 1 if share > 0.5 else -1


_Y, _X = np.mgrid[-1 : 1 : GRID * 1j, -1 : 1 : GRID * 1j]
_TERMS = np.stack([np.ones_like(_X), _X, _Y, _X * _Y, _X**2, _Y**2], axis=-1).reshape(-1, 6)
_OUTER = np.flatnonzero(np.maximum(abs(_X), abs(_Y)) > 0.8)
_OUTER_TERMS = _TERMS[_OUTER]
_RIDGE = 1e-3 * np.eye(6)


def _gradient(plane: np.ndarray) -> Paper:
    """Quadratic surface through the outer pixels, by iterated least absolute differences."""
    values = shrunk(plane, GRID).ravel()[_OUTER].astype(np.float64)
    weights = np.ones_like(values)
    for _ in range(ROUNDS):
        weighted = _OUTER_TERMS.T * weights
        fit = np.linalg.solve(weighted @ _OUTER_TERMS + _RIDGE, weighted @ values)
        weights = 1 / (np.abs(values - _OUTER_TERMS @ fit) + 2)
    surface = np.clip(_TERMS @ fit + 0.5, 0, 255).astype(np.uint8).reshape(GRID, GRID)
    paper = cv2.resize(surface, plane.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return paper, _sign(plane, paper)


def _shadowed(plane: np.ndarray) -> Paper:
    """A wide median forgets strokes and keeps even the sharp edge of a shadow.

    What differs from it much is ink and filled from it, the rest is paper as it is.
    """
    grid = cv2.GaussianBlur(shrunk(plane, FINER), (5, 5), 0.8)
    median = cv2.medianBlur(grid, STROKE_REACH)
    sign = _sign(grid, median)
    depth = depth_of(grid, median, sign)
    _, inked = cv2.threshold(depth, 0.25 * cv2.minMaxLoc(depth)[1], 255, cv2.THRESH_BINARY)
    cv2.copyTo(median, cv2.dilate(inked, np.ones((5, 5), np.uint8)), grid)
    paper = cv2.GaussianBlur(grid, (5, 5), 0.8)
    return cv2.resize(paper, plane.shape[::-1], interpolation=cv2.INTER_LINEAR), sign


def _sign(plane: np.ndarray, paper: np.ndarray) -> int:
    """Ink is where the extremes are: the sign of the third moment."""
    lighter, darker = cv2.subtract(plane, paper), cv2.subtract(paper, plane)
    return 1 if _cubes(lighter) > _cubes(darker) else -1


def _cubes(away: np.ndarray) -> float:
    return float(away.ravel().astype(np.float32) @ cv2.multiply(away, away, dtype=cv2.CV_32F).ravel())
