"""Any decoded pixels -> the 28x28 uint8 picture MNIST would have made of them, and what was odd about them.

pixels -> ink: one plane, paper 0, strokes bright -> the digit's own part of it -> 20x20 with strokes of MNIST's
thickness -> 28x28, centre of mass in the middle.

The procedure is NIST's, as rebuilt by C. Yadav, L. Bottou: Cold Case: The Lost MNIST Digits, NeurIPS 2019: bounding
box, square, area-resampled to 20x20, centre of mass to the centre of 28x28.
"""

from typing import NamedTuple

import cv2
import numpy as np

from digit import SIDE
from ink import SQUARE, Ink, find_ink, groups_of, level_of, noise_of, runs_off
from levels import Levels
from paper import depth_of

BOX = 20  # pixels; longest side of a digit within the picture
CENTRE = SIDE // 2  # of mass, as pixel index
OFF_CENTRE = 0.55  # pixels; over all of MNIST the centroid is 13.48 to 14.50 in both directions
SMALLEST_SIDE = 19  # pixels; over all of MNIST the longer ink side is 19 or 20
BRIGHT = 128  # grey levels; over all of MNIST the brightest pixel of a picture is 254 or 255, and its ground is 0
LOSSY_FLOOR = 24  # grey levels; what JPEG leaves on MNIST's ground ...
LOSSY_INK = 64  # ... and beside strokes; brighter pixels are ink
FINE = 40  # pixels; least longest side at which strokes are cleaned and thickened ...
WORK_BOX = 60  # ... to which a smaller digit is enlarged
LOW_CONTRAST = 40.0  # grey levels between paper and full ink
SPECK = 0.08  # of the main component's mass; parts of less are dirt
FAINT = 0.5  # of its mean depth; parts of less are shadow
BROKEN = 0.75  # of its group's mass; a main component with less is a piece of a broken digit, as are the others
FARTHEST = 0.6  # of its longer side; parts beyond belong to something else
BESIDE = 0.08  # of the main component's height; a tall part with such a gap to its side is another digit
ROUND = 0.75  # width over height at least; what is narrower and goes round others is a zero with a slash ...
ENCLOSED = 0.3  # ... and of its height; what is lower than this is no digit in a ring
LARGE = 0.15  # of the main component's mass; one that has as much is a large part ...
EXTENDED = 0.35  # ... as is one that is kept and has so much of the main one's longer side
MANY = 12  # components; as many, none of which has half the ink, are clutter
COARSE = 20  # pixels; a digit that was smaller than this is blurred
THINNEST = 1.83  # pixels of the 20x20 box; strokes are made at least as thick
REACH = 0.18  # of a digit's longer side; uneven strokes are made as strong as the strongest within this ...
PALEST = 26.0  # ... but for what is paler than this, of 255

Box = tuple[int, int, int, int]  # left, top, right, bottom


class Canonical(NamedTuple):
    """A canonical picture.

    picture: uint8 [28, 28].
    warnings: what its making gave rise to.
    coarse: whether it had to be enlarged much.
    doubt: how much less it is believed than others from the start, as a cost in the vote.
    parts: how many large connected components the ink has.
    thin: whether strokes had to be thickened.
    """

    picture: np.ndarray
    warnings: tuple[str, ...]
    coarse: bool
    doubt: float = 0.0
    parts: int = 1
    thin: bool = False


def as_mnist(pictures: np.ndarray, lossy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which pictures, uint8 [n, 28, 28], are MNIST's already: bool [n]; and they, less a lossy format's faint noise.

    Bright ink on dark, longer ink side 19 to 20 pixels, centroid within 0.55 pixels of (14, 14). The dark ground is
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
    bright = pictures.max(axis=(1, 2)) >= BRIGHT
    return (longer >= SMALLEST_SIDE) & (longer <= BOX) & centred & bright, pictures


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


def read_from(plane: np.ndarray, doubt: float = 0.0) -> Canonical:
    """Picture of the digit in grey levels, uint8 [h, w], or RGB, uint8 [h, w, 3], with this doubt."""
    return drawn(find_ink(Levels(plane)))._replace(doubt=doubt)


def drawn(ink: Ink) -> Canonical:
    """Picture of the digit whose ink was found."""
    if ink.blank:
        return Canonical(np.zeros((SIDE, SIDE), np.uint8), ("blank",), False)
    warnings = ["low_contrast"] if ink.level < LOW_CONTRAST else []
    if ink.sign < 0:
        warnings.append("inverted")
    keep, box, odd, parts = _digit(ink)
    side = max(box[2] - box[0], box[3] - box[1]) << len(ink.levels.pixels) - 1
    strokes = _strokes(ink, keep, box)
    thickened = _thickened(strokes)
    thin = thickened is not strokes
    return Canonical(_placed(thickened), (*warnings, *odd), side < COARSE, parts=parts, thin=thin)


def _digit(ink: Ink) -> tuple[np.ndarray | None, Box, list[str], int]:
    """Mask of the digit's components, None for all there is; their box; what is odd; how many large ones there are."""
    mask, (left, top, width, height) = ink.mask, ink.box
    inner = ink.within(mask)
    count, _ = cv2.connectedComponents(inner, connectivity=8)
    odd: list[str] = []
    parts = 1
    if count > 2:  # the statistics take most of the time, and one component needs none
        _, labels, stats, _ = cv2.connectedComponentsWithStats(inner, connectivity=8)
        groups = np.arange(count)  # of each label
        if ink.even:
            groups[labels] = groups_of(inner)
        kept, odd, parts = _parts(ink.within(ink.depth), labels, stats, groups, ink.uneven)
        mask = ink.mask_of(np.isin(labels, kept))
        left, top, width, height = cv2.boundingRect(mask)
    if not ink.even and runs_off(mask, (left, top, width, height)):
        odd.append("cropped")
    alone = count == 2 and ink.noise == 0 and ink.whole and not ink.uneven
    return None if alone else mask, (left, top, left + width, top + height), odd, parts


def _parts(
    depth: np.ndarray, labels: np.ndarray, stats: np.ndarray, groups: np.ndarray, uneven: bool
) -> tuple[list[int], list[str], int]:
    """Labels of the main component and of what belongs to it, what is odd, and how many large ones there are.

    To it belong those that are neither faint, nor specks, nor far, and of a broken digit all of its group.
    """
    mass = np.bincount(labels.ravel(), depth.ravel())
    mass[0] = 0
    mean = mass / np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
    main = int((mass * mean).argmax())
    left, top, width, height = (stats[:, i] for i in range(4))
    across = np.maximum(left - (left[main] + width[main]), left[main] - (left + width))
    down = np.maximum(top - (top[main] + height[main]), top[main] - (top + height))
    dark = mean > FAINT * mean[main]
    near = np.maximum(across, down) <= FARTHEST * max(width[main], height[main])
    kept = dark & near & (mass > SPECK * mass[main])
    whole = groups == groups[main]
    if uneven or mass[main] < BROKEN * mass[whole].sum():
        kept |= whole
    longer = np.maximum(width, height)
    large = (mass >= LARGE * mass[main]) | (kept & (longer >= EXTENDED * longer[main]))
    ring = enclosing(stats)
    odd = []
    if (
        (kept & (across > BESIDE * height[main]) & (height > 0.6 * height[main])).any()
        or (dark & ~near & (mass > 0.4 * mass[main])).any()
        or dark[ring]  # the paper, label 0, is never dark
    ):
        odd.append("several_shapes")
    if len(np.unique(groups[1:])) >= MANY and mass[main] < 0.5 * mass.sum():
        odd.append("cluttered")
    return [int(i) for i in np.flatnonzero(kept)], odd, max(int(large.sum()), 2 if ring else 1)


def enclosing(stats: np.ndarray) -> int:
    """Label of the largest component, if another one lies within its box as in a ring or a frame; else 0.

    Args:
        stats: int32 [n, 5], OpenCV's of n components.
    """
    ring = int((stats[1:, cv2.CC_STAT_WIDTH] * stats[1:, cv2.CC_STAT_HEIGHT]).argmax()) + 1
    left, top, width, height = stats[ring, :4]
    if width < ROUND * height:
        return 0
    lefts, tops, widths, heights = np.delete(stats, (0, ring), axis=0)[:, :4].T
    within = (lefts > left + 1) & (lefts + widths < left + width - 1) & (tops > top + 1)
    within &= (tops + heights < top + height - 1) & (heights > ENCLOSED * height)
    return ring if within.any() else 0


def _strokes(ink: Ink, keep: np.ndarray | None, box: Box) -> np.ndarray:
    """The digit's ink alone, uint8 [h, w], 0 to 255, soft at the edges, cropped to its box."""
    left, top = max(box[0] - 1, 0), max(box[1] - 1, 0)
    right, bottom = min(box[2] + 1, ink.depth.shape[1]), min(box[3] + 1, ink.depth.shape[0])
    part, finer = ink.levels.part(left, top, right, bottom, FINE)
    level, noise = ink.level, ink.noise
    longer = max(part.shape)
    scale = WORK_BOX / longer if longer < FINE else 1
    size = max(round(part.shape[1] * scale), 1), max(round(part.shape[0] * scale), 1)
    if scale > 1:
        part = cv2.resize(part, size, interpolation=cv2.INTER_LANCZOS4 if longer < COARSE else cv2.INTER_CUBIC)
    paper = ink.paper
    if not isinstance(paper, int):
        paper = cv2.resize(paper[top:bottom, left:right], size)
    depth = depth_of(part, paper, ink.sign)
    if finer > 1:  # thin strokes have paled in the reduction
        level, noise = level_of(depth, ink.threshold), noise_of(part)
    low = min(2 * noise, 0.4 * level)
    strokes = cv2.addWeighted(depth, 255 / (level - low), depth, 0, -255 * low / (level - low))
    if ink.uneven:
        strokes = _evened(strokes)
    if keep is not None:
        near = cv2.dilate(keep[top:bottom, left:right], SQUARE)
        strokes = cv2.bitwise_and(strokes, cv2.resize(near, size, interpolation=cv2.INTER_NEAREST))
    return _boxed(strokes)


def _evened(strokes: np.ndarray) -> np.ndarray:
    """Pale strokes made as strong as others; soft edges stay soft, since a stroke is stronger nearby."""
    reach = round(REACH * max(strokes.shape)) | 1
    strongest = cv2.blur(cv2.dilate(strokes, np.ones((reach, reach), np.uint8)), (reach, reach))
    gain = 255 / np.maximum(strongest, PALEST).astype(np.float32)
    return np.minimum(strokes * gain, 255).astype(np.uint8)


def _thickened(strokes: np.ndarray) -> np.ndarray:
    """Strokes made at least THINNEST."""
    unit = max(strokes.shape) / BOX
    _, solid = cv2.threshold(cv2.copyMakeBorder(strokes, 1, 1, 1, 1, cv2.BORDER_CONSTANT), 127, 255, cv2.THRESH_BINARY)
    depth = cv2.distanceTransform(solid, cv2.DIST_L2, 3)
    thickness = 4 * (cv2.sumElems(depth)[0] / max(cv2.countNonZero(solid), 1) - 0.5) / unit
    lacking = (THINNEST - thickness) * unit
    if lacking <= 0.5:
        return strokes
    whole = int(lacking)
    strokes = cv2.copyMakeBorder(strokes, whole + 1, whole + 1, whole + 1, whole + 1, cv2.BORDER_CONSTANT)
    less, more = _grown(strokes, whole), _grown(strokes, whole + 1)
    return _boxed(cv2.addWeighted(less, whole + 1 - lacking, more, lacking - whole, 0))


def _grown(strokes: np.ndarray, pixels: int) -> np.ndarray:
    """Strokes thicker by so many pixels."""
    return cv2.dilate(strokes, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (pixels + 1, pixels + 1)))


def _boxed(strokes: np.ndarray) -> np.ndarray:
    left, top, width, height = cv2.boundingRect(cv2.threshold(strokes, 76, 255, cv2.THRESH_BINARY)[1])
    return strokes[top : top + height, left : left + width] if width else strokes


def _placed(strokes: np.ndarray) -> np.ndarray:
    """Reduced so that the longer side is BOX, centre of mass in the middle of uint8 [28, 28]."""
    height, width = strokes.shape
    across, down = max(height - width, 0), max(width - height, 0)
    square = cv2.copyMakeBorder(
        strokes, down // 2, down - down // 2, across // 2, across - across // 2, cv2.BORDER_CONSTANT
    )
    box = cv2.resize(square, (BOX, BOX), interpolation=cv2.INTER_AREA)
    brightest = cv2.minMaxLoc(box)[1]
    if 0 < brightest < 255:
        box = cv2.convertScaleAbs(box, alpha=255 / brightest)
    moments = cv2.moments(box)
    mass = max(moments["m00"], 1)
    left = min(max(round(CENTRE - moments["m10"] / mass), 0), SIDE - BOX)
    top = min(max(round(CENTRE - moments["m01"] / mass), 0), SIDE - BOX)
    picture = np.zeros((SIDE, SIDE), np.uint8)
    picture[top : top + BOX, left : left + BOX] = box
    return picture
