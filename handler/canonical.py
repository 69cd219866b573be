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
from ink import Ink, find_ink

BOX = 20  # pixels; longest side of a digit within the picture
CENTRE = SIDE // 2  # of mass, as pixel index
OFF_CENTRE = 0.55  # pixels; over all of MNIST the centroid is 13.48 to 14.50 in both directions
SMALLEST_SIDE = 19  # pixels; over all of MNIST the longer ink side is 19 or 20
LOSSY_FLOOR = 24  # grey levels; what JPEG leaves on MNIST's ground ...
LOSSY_INK = 64  # ... and beside strokes; brighter pixels are ink
WORK_BOX = 80  # pixels; longest side at which strokes are cleaned and thickened
LOW_CONTRAST = 40.0  # grey levels between paper and full ink
SPECK = 0.08  # of the main component's mass; parts of less are dirt
FAINT = 0.5  # of its mean depth; parts of less are shadow
FARTHEST = 0.6  # of its longer side; parts beyond belong to something else
BESIDE = 0.08  # of the main component's height; a tall part with such a gap to its side is another digit
MANY = 12  # components; more, none of which has half the ink, are clutter
COARSE = 20  # pixels; a digit that was smaller than this is blurred
THINNEST = 1.7  # pixels of the 20x20 box; strokes are made at least as thick


Box = tuple[int, int, int, int]  # left, top, right, bottom


class Canonical(NamedTuple):
    """Picture, uint8 [28, 28], the warnings its making gave rise to, and whether it had to be enlarged much."""

    picture: np.ndarray
    warnings: tuple[str, ...]
    coarse: bool


def as_mnist(pictures: np.ndarray, lossy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which pictures, uint8 [n, 28, 28], are MNIST's already: bool [n]; and they, less a lossy format's faint noise.

    Light ink on dark, longer ink side 19 to 20 pixels, centroid within 0.55 pixels of (14, 14). The dark ground is
    implied: at least 384 pixels outside the ink are zero. `lossy`, bool [n], says where pixels below LOSSY_FLOOR are
    ground and those below LOSSY_INK no evidence of ink.
    """
    least = np.uint8(1)
    if lossy.any():
        faint = lossy[:, None, None] & (pictures < LOSSY_FLOOR)
        pictures = np.where(faint, np.uint8(0), pictures)
        least = np.where(lossy, np.uint8(LOSSY_INK), least)[:, None]
    longer = np.maximum(_extent(pictures.max(axis=2) >= least), _extent(pictures.max(axis=1) >= least))
    down, across = _centroids(pictures)
    centred = (abs(down - CENTRE) <= OFF_CENTRE) & (abs(across - CENTRE) <= OFF_CENTRE)
    return (longer >= SMALLEST_SIDE) & (longer <= BOX) & centred, pictures


def _extent(inked: np.ndarray) -> np.ndarray:
    """Distance from the first to the last true value of each row of `inked`, bool [n, 28], both included."""
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
    ink = find_ink(pixels)
    if ink.blank:
        return Canonical(np.zeros((SIDE, SIDE), np.uint8), ("blank",), False)
    warnings = ["low_contrast"] if ink.level < LOW_CONTRAST else []
    if ink.sign < 0:
        warnings.append("inverted")
    keep, box, odd = _digit(ink.depth, ink.threshold)
    strokes = _strokes(_crop(ink, keep, box), ink.level, ink.noise)
    side = max(box[2] - box[0], box[3] - box[1]) * ink.factor
    return Canonical(_placed(strokes), (*warnings, *odd), side < COARSE)


def _digit(depth: np.ndarray, threshold: float) -> tuple[np.ndarray, Box, list[str]]:
    """Mask of the digit's components, their box and what is odd about them."""
    mask = (depth > threshold).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    kept: list[int] = [1]
    odd: list[str] = []
    keep = mask > 0
    if count > 2:
        kept, odd = _parts(depth, labels, stats)
        keep = np.isin(labels, kept)
    left, top = stats[kept, :2].min(axis=0)
    right, bottom = (stats[kept, :2] + stats[kept, 2:4]).max(axis=0)
    box = int(left), int(top), int(right), int(bottom)
    if _touches(keep):
        odd.append("cropped")
    return keep, box, odd


def _touches(keep: np.ndarray) -> bool:
    """Whether ink runs off the picture: along more than a twentieth of one of its edges."""
    return any(edge.mean() > 0.05 for edge in (keep[0], keep[-1], keep[:, 0], keep[:, -1]))


def _parts(depth: np.ndarray, labels: np.ndarray, stats: np.ndarray) -> tuple[list[int], list[str]]:
    """Labels of the main component and of those that belong to it (not faint, no specks, not far), and what is odd."""
    mass = np.bincount(labels.ravel(), np.clip(depth, 0, None).ravel())
    mass[0] = 0
    mean = mass / np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
    main = int((mass * mean).argmax())
    left, top, width, height = (stats[:, i] for i in range(4))
    across = np.maximum(left - (left[main] + width[main]), left[main] - (left + width))
    down = np.maximum(top - (top[main] + height[main]), top[main] - (top + height))
    dark = mean > FAINT * mean[main]
    near = np.maximum(across, down) <= FARTHEST * max(width[main], height[main])
    kept = dark & near & (mass > SPECK * mass[main])
    odd = []
    if (kept & (across > BESIDE * height[main]) & (height > 0.6 * height[main])).any() or (
        dark & ~near & (mass > 0.4 * mass[main])
    ).any():
        odd.append("several_shapes")
    if len(mass) > MANY and mass[main] < 0.5 * mass.sum():
        odd.append("cluttered")
    return [int(i) for i in np.flatnonzero(kept)], odd


def _crop(ink: Ink, keep: np.ndarray, box: Box) -> np.ndarray:
    """Depth of the digit's ink alone, float32, longer side WORK_BOX; from the full pixels where it is small."""
    left, top, right, bottom = max(box[0] - 1, 0), max(box[1] - 1, 0), box[2] + 1, box[3] + 1
    if max(right - left, bottom - top) >= WORK_BOX:
        part = ink.small[top:bottom, left:right]
    else:
        part = ink.pixels[top * ink.factor : bottom * ink.factor, left * ink.factor : right * ink.factor]
    scale = WORK_BOX / max(part.shape[:2])
    size = max(round(part.shape[1] * scale), 1), max(round(part.shape[0] * scale), 1)
    if scale < 1:
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    else:  # as floats: the interpolation may overshoot
        part = cv2.resize(part.astype(np.float32), size, interpolation=cv2.INTER_LANCZOS4)
    paper = ink.paper if ink.paper.size == 1 else cv2.resize(ink.paper[top:bottom, left:right], size)
    near = cv2.dilate(keep[top:bottom, left:right].astype(np.uint8), np.ones((3, 3), np.uint8))
    return ink.depth_in(part, paper) * cv2.resize(near, size, interpolation=cv2.INTER_NEAREST)


def _strokes(ink: np.ndarray, level: float, noise: float) -> np.ndarray:
    """Ink in 0..1, soft at the edges, cropped to its box, at least THINNEST."""
    level = min(level, float(np.quantile(ink[ink > 0.4 * ink.max()], 0.9)))  # thin strokes have paled in the reduction
    low = min(2 * noise, 0.4 * level)
    strokes = np.clip((ink - low) / (level - low), 0, 1)
    strokes = _boxed(strokes)
    solid = (strokes > 0.5).astype(np.uint8)
    depth = cv2.distanceTransform(cv2.copyMakeBorder(solid, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)
    unit = max(strokes.shape) / BOX
    thickness = 4 * (float(depth.sum()) / max(int(solid.sum()), 1) - 0.5) / unit
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
