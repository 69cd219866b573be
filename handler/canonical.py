"""Any decoded pixels -> the 28x28 uint8 picture MNIST would have made of them, and what was odd about them.

pixels -> ink: one plane, paper 0, strokes bright -> the digit's own part of it -> 20x20 with strokes of MNIST's
thickness -> 28x28, centre of mass in the middle.

The procedure is NIST's as told by C. Yadav, L. Bottou: Cold Case: The Lost MNIST Digits, NeurIPS 2019: bounding box,
square, area-resampled to 20x20, centre of mass to the centre of 28x28.
"""

from typing import NamedTuple

import cv2
import numpy as np

from digit import SIDE

BOX = 20  # pixels; longest side of a digit within the picture
CENTRE = SIDE // 2  # of mass, as pixel index
OFF_CENTRE = 0.55  # pixels; over all of MNIST the centroid is 13.48 to 14.50 in both directions
SMALLEST_SIDE = 19  # pixels; over all of MNIST the longer ink side is 19 or 20
LOSSY_FLOOR = 24  # grey levels; what JPEG leaves on MNIST's ground
LOCATE_SIDE = 256  # pixels; the digit is looked for in a picture reduced to this
WORK_BOX = 80  # pixels; longest side at which strokes are cleaned and thickened
GRID = 128  # pixels; side of the square on which uneven paper is estimated
STROKE_REACH = 63  # pixels of it, odd; the window of the median that tells paper from strokes
SPECK = 0.03  # of the main component's mass; parts of less are dirt
FAINT = 0.5  # of its mean depth; parts of less are shadow
FARTHEST = 0.6  # of its longer side; parts beyond belong to something else
THINNEST = 1.7  # pixels of the 20x20 box; strokes are made at least as thick


class Canonical(NamedTuple):
    """Picture, uint8 [28, 28], and the warnings its making gave rise to."""

    picture: np.ndarray
    warnings: tuple[str, ...]


def as_mnist(pictures: np.ndarray, lossy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which pictures, uint8 [n, 28, 28], are MNIST's already: bool [n]; and they, less a lossy format's faint noise.

    Light ink on dark, longer ink side 19 to 20 pixels, centroid within 0.55 pixels of (14, 14). The dark ground is
    implied: at least 384 pixels outside the ink are zero. `lossy`, bool [n], says where pixels below LOSSY_FLOOR count
    as ground.
    """
    if lossy.any():
        faint = lossy[:, None, None] & (pictures < LOSSY_FLOOR)
        pictures = np.where(faint, np.uint8(0), pictures)
    rows, columns = pictures.max(axis=2), pictures.max(axis=1)
    longer = np.maximum(_extent(rows), _extent(columns))
    down, across = _centroids(pictures)
    centred = (abs(down - CENTRE) <= OFF_CENTRE) & (abs(across - CENTRE) <= OFF_CENTRE)
    return (longer >= SMALLEST_SIDE) & (longer <= BOX) & centred, pictures


def _extent(profile: np.ndarray) -> np.ndarray:
    """Distance from the first to the last nonzero of each row of `profile`, [n, 28], both included."""
    inked = profile > 0
    return np.where(inked.any(axis=1), SIDE - inked.argmax(axis=1) - inked[:, ::-1].argmax(axis=1), 0)


_POSITION = np.stack([np.repeat(np.arange(SIDE), SIDE), np.tile(np.arange(SIDE), SIDE), np.ones(SIDE * SIDE)], axis=1)
_POSITION = _POSITION.astype(np.float32)


def _centroids(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each picture's centre of mass."""
    moments = pictures.reshape(-1, SIDE * SIDE).astype(np.float32) @ _POSITION
    mass = np.maximum(moments[:, 2], 1)
    return moments[:, 0] / mass, moments[:, 1] / mass


def canonicalize(pixels: np.ndarray) -> Canonical:
    """Picture of the digit in uint8 pixels [h, w], [h, w, 3] (either order of colours) or [h, w, 4] (alpha last)."""
    warnings: list[str] = []
    plane = _one_plane(pixels)
    small, factor = _at_most(plane, LOCATE_SIDE)
    paper, sign = _paper(small)
    ink = sign * (small - paper)
    threshold, level, noise = _levels(ink)
    if level < 10 or level < 4 * noise:
        return Canonical(np.zeros((SIDE, SIDE), np.uint8), ("blank",))
    if level < 40:
        warnings.append("low_contrast")
    if sign < 0:
        warnings.append("inverted")
    keep, box, odd = _digit(ink, threshold)
    warnings += odd
    crop = _crop(plane, paper, sign, keep, box, factor)
    strokes = _strokes(crop, level, noise)
    return Canonical(_placed(strokes), tuple(warnings))


def _one_plane(pixels: np.ndarray) -> np.ndarray:
    """Float32 [h, w] in 0..255, along the axis of colour on which ink and paper differ most."""
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
    ring = _ring(colours)
    away = (colours - np.median(ring, axis=0)).reshape(-1, 3)
    away = away[:: max(len(away) // 20_000, 1)]
    _, axes = np.linalg.eigh(away.T @ away)
    axis = axes[:, -1]
    axis = axis / np.abs(axis).sum() * (1 if axis.sum() >= 0 else -1)
    return colours @ axis


def _ring(plane: np.ndarray) -> np.ndarray:
    """The outermost pixels, [n] or [n, channels]."""
    h, w = plane.shape[:2]
    d = max(round(0.04 * min(h, w)), 1)
    sides = plane[:d], plane[-d:], plane[d:-d, :d], plane[d:-d, -d:]
    return np.concatenate([s.reshape(-1, *plane.shape[2:]) for s in sides])


def _at_most(plane: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    longest = max(plane.shape)
    if longest <= side:
        return plane, 1.0
    factor = longest / side
    size = max(round(plane.shape[1] / factor), 1), max(round(plane.shape[0] / factor), 1)
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA), factor


def _paper(plane: np.ndarray) -> tuple[np.ndarray, int]:
    """What the plane would be without ink, float32 [h, w] or [1, 1], and -1 if ink is darker than it, else 1."""
    ring = _ring(plane)
    middle = np.median(ring)
    away = plane - middle
    contrast = np.abs(away).max()
    sign = 1 if _skew(away) > 0 else -1
    if min(plane.shape) < 16 or np.quantile(np.abs(ring - middle), 0.8) < 0.08 * contrast:
        return np.full((1, 1), middle, np.float32), sign
    return _uneven_paper(plane)


def _skew(away: np.ndarray) -> float:
    return float((away * away * away).sum())


def _uneven_paper(plane: np.ndarray) -> tuple[np.ndarray, int]:
    """Paper under a gradient or a shadow, and the ink's sign.

    A wide median forgets strokes and keeps even the sharp edge of a shadow; what differs from it much is ink and filled
    from it, the rest is paper as it is.
    """
    g = cv2.resize(plane, (GRID, GRID), interpolation=cv2.INTER_AREA)
    g = cv2.GaussianBlur(g, (0, 0), 1)
    median = cv2.medianBlur(np.clip(g, 0, 255).astype(np.uint8), STROKE_REACH).astype(np.float32)
    away = g - median
    sign = 1 if _skew(away) > 0 else -1
    inked = (sign * away > 0.25 * (sign * away).max()).astype(np.uint8)
    inked = cv2.dilate(inked, np.ones((5, 5), np.uint8))
    paper = cv2.GaussianBlur(np.where(inked > 0, median, g), (0, 0), 1)
    return cv2.resize(paper, plane.shape[::-1], interpolation=cv2.INTER_LINEAR), sign


def _levels(ink: np.ndarray) -> tuple[float, float, float]:
    """Threshold between paper and ink (Otsu's), level of full ink, and noise of the paper (standard deviation)."""
    noise = 1.4826 * float(np.median(np.abs(_ring(ink))))
    top = float(ink.max())
    if top < 2:
        return 1.0, 0.0, noise
    counted = np.clip(ink * (255 / top), 0, 255).astype(np.uint8)
    otsu, _ = cv2.threshold(counted, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    threshold = max(otsu * top / 255, 3 * noise)
    above = ink[ink > threshold]
    level = float(np.quantile(above, 0.9)) if above.size else 0.0
    return min(threshold, 0.6 * level), level, noise


def _digit(ink: np.ndarray, threshold: float) -> tuple[np.ndarray, tuple[int, int, int, int], list[str]]:
    """Mask of the digit's components, its box (left, top, right, bottom) and what is odd."""
    mask = (ink > threshold).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    kept = _parts(ink, labels, stats) if count > 2 else [1]
    keep = np.isin(labels, kept) if count > 2 else mask > 0
    boxes = stats[kept]
    left, top = boxes[:, :2].min(axis=0)
    right, bottom = (boxes[:, :2] + boxes[:, 2:4]).max(axis=0)
    return keep, (int(left), int(top), int(right), int(bottom)), []


def _parts(ink: np.ndarray, labels: np.ndarray, stats: np.ndarray) -> list[int]:
    """Labels of the main component and of those that belong to it: not faint, not specks, not far away."""
    mass = np.bincount(labels.ravel(), np.clip(ink, 0, None).ravel())
    mass[0] = 0
    depth = mass / np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
    main = int((mass * depth).argmax())
    left, top, width, height = (stats[:, i] for i in range(4))
    reach = FARTHEST * max(width[main], height[main])
    across = np.maximum(left - (left[main] + width[main]), left[main] - (left + width))
    down = np.maximum(top - (top[main] + height[main]), top[main] - (top + height))
    near = np.maximum(across, down) <= reach
    return [int(i) for i in np.flatnonzero((mass > SPECK * mass[main]) & (depth > FAINT * depth[main]) & near)]


def _crop(
    plane: np.ndarray, paper: np.ndarray, sign: int, keep: np.ndarray, box: tuple[int, int, int, int], factor: float
) -> np.ndarray:
    """Ink of the digit alone at the finest scale useful, float32, longer side about WORK_BOX or more."""
    left, top, right, bottom = box
    x, y = max(int((left - 1) * factor), 0), max(int((top - 1) * factor), 0)
    right_end, bottom_end = (
        min(int(np.ceil((right + 1) * factor)), plane.shape[1]),
        min(int(np.ceil((bottom + 1) * factor)), plane.shape[0]),
    )
    part = plane[y:bottom_end, x:right_end]
    if paper.size > 1:
        paper = cv2.resize(paper[top and top - 1 : bottom + 1, left and left - 1 : right + 1], part.shape[::-1])
    near = cv2.dilate(keep.astype(np.uint8), np.ones((3, 3), np.uint8))
    near = near[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1]
    near = cv2.resize(near, part.shape[::-1], interpolation=cv2.INTER_NEAREST)
    ink = sign * (part - paper) * near
    scale = WORK_BOX / max(part.shape)
    size = max(round(part.shape[1] * scale), 1), max(round(part.shape[0] * scale), 1)
    return cv2.resize(ink, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _strokes(ink: np.ndarray, level: float, noise: float) -> np.ndarray:
    """Ink in 0..1, soft at the edges, cropped to its box, at least THINNEST."""
    low = min(2 * noise, 0.4 * level)
    strokes = np.clip((ink - low) / (level - low), 0, 1)
    strokes = _boxed(strokes)
    solid = (strokes > 0.5).astype(np.uint8)
    depth = cv2.distanceTransform(cv2.copyMakeBorder(solid, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)
    unit = max(strokes.shape) / BOX
    thickness = 4 * float(depth.sum()) / max(int(solid.sum()), 1) / unit
    lacking = round((THINNEST - thickness) * unit)
    if lacking > 0:
        pad = lacking
        strokes = cv2.copyMakeBorder(strokes, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
        strokes = cv2.dilate(strokes, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (lacking + 1, lacking + 1)))
        strokes = _boxed(strokes)
    return strokes


def _boxed(strokes: np.ndarray) -> np.ndarray:
    solid = strokes > 0.3
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    if not rows.size:
        return strokes
    return strokes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _placed(strokes: np.ndarray) -> np.ndarray:
    h, w = strokes.shape
    side = max(h, w)
    square = np.zeros((side, side), np.float32)
    y, x = (side - h) // 2, (side - w) // 2
    square[y : y + h, x : x + w] = strokes
    box = cv2.resize(square, (BOX, BOX), interpolation=cv2.INTER_AREA)
    box *= 255 / max(float(box.max()), 1e-6)
    picture = np.zeros((SIDE, SIDE), np.uint8)
    picture[4:24, 4:24] = np.clip(box + 0.5, 0, 255)
    down, across = (float(c[0]) for c in _centroids(picture[None]))
    shift = np.float32([[1, 0, round(CENTRE - across)], [0, 1, round(CENTRE - down)]])
    return cv2.warpAffine(picture, shift, (SIDE, SIDE), flags=cv2.INTER_NEAREST)
