"""Other readings of an image whose ink is more than a digit, or not drawn with strokes.

ink -> without what stands beside the digit; without pale strokes; without a part that goes round the others; the main
part alone; an outlined digit filled; a digit of two colours as one; what lies on a card, a disc, a sheet or a patch
-> a picture of each that there may be.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from canonical import Canonical, drawn, enclosing, read_from
from ink import Ink, find_ink, groups_of
from levels import Levels, quantile

ROOM = 40  # pixels of the smallest level; an image with a shorter side has no room for a digit and more
PALE = 0.8  # of the ink; where firm strokes have more of it, the pale ones change nothing
LOWEST = 0.25  # of the ink's height; what is lower is no digit
PART = 0.5  # in the vote: what the main part alone, or the ink without pale strokes, costs ...
WITHIN = 0.5  # ... the bonus of what lies on a card or within an outline ...
UNDERLINED = 1.0  # ... and the bonus of what lies over a line, which is no part of a digit
WHOLE = 0.4  # of the main part's mass; what stands beside it and has more may be a digit as a whole
FLAT = 0.2  # of the height of what lies over it; a line is lower
CARD_SIDE = 24  # pixels of the smallest level; a smaller card has no room for a digit ...
NARROW = 0.35  # of its longer side; nor has a narrower one, such as a one in a thick pen
LEAST = 0.4  # of its box; no card covers less, however turned
COVERED = 0.6  # of its box; an upright card without the digit on it covers more ...
FILLED = 0.7  # ... and with the digit so much, be it a disc
SOLID = 0.83  # of its area; a turned card without the digit on it has more ...
RECTANGLE = 0.9  # ... and with the digit so much of the smallest rectangle around it, of which a zero has 0.79
CONVEX = 0.92  # of its convex hull, be it upright or turned
EDGE = 0.06  # of its shorter side; cut off along its outline
SMALL = 0.12  # of a card's height; what is lower on it is no digit
DISTINCT = 0.02  # of a side of the card's box; ink on it keeps so far off, or it is the card's edge
CONTRAST = 0.25  # of the card's; ink on it has more
TEXTURE = 64  # outlines; more are neither a card nor a digit
HOLLOW = 0.1  # of the box; the inside of an outlined digit has more ...
LONG = 30.0  # ... and its squared perimeter is so many times its area; a disc's is 13 times, a narrow zero's 21
DETAIL = 128  # pixels; a card is read from the coarsest level in which it is so long
CORE = 0.05  # of the ink; what lies within the edge of a filled digit has more ...
PALER = 0.85  # ... and so much of the edge's depth at most
BORDER = 4  # pixels of paper round a digit that was filled


def others(ink: Ink, plain: Canonical) -> list[Canonical]:
    """Up to five readings beside the plain one; none of most images."""
    found = _without_neighbours(ink, plain)
    if min(ink.mask.shape) < ROOM:
        return found
    if ink.uneven and PALE * cv2.countNonZero(ink.mask) > cv2.countNonZero(ink.firm):
        found.append(drawn(ink.part(ink.firm))._replace(doubt=PART))
    elif plain.parts > 1:
        found += _by_parts(ink, plain)
    if plain.thin:
        found += _filled(ink, plain)
    if _is_paler_within(ink):
        found.append(_silhouette(ink.within(ink.mask), plain, 0.0))
    found += _on_card(ink)
    return [reading for reading in found if "blank" not in reading.warnings]


def _without_neighbours(ink: Ink, plain: Canonical) -> list[Canonical]:
    """The ink without the parts that run off the image, but for the main one: they belong to what stands beside it."""
    if "cropped" not in plain.warnings and not ink.cropped:
        return []
    inner, depth = ink.within(ink.mask), ink.within(ink.depth)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inner, connectivity=8)
    if count < 3:
        return []
    mass = np.bincount(labels.ravel(), depth.ravel())
    mass[0] = 0
    left, top, width, height = (stats[:, i] + (ink.box[i] if i < 2 else 0) for i in range(4))
    off = (left == 0) | (top == 0) | (left + width == ink.mask.shape[1]) | (top + height == ink.mask.shape[0])
    main = int(mass.argmax())
    off[0], off[main] = False, False
    if not off.any():
        return []
    reading = drawn(ink.part(ink.mask_of((labels > 0) & ~off[labels])))
    if mass[off].max() > WHOLE * mass[main] and "several_shapes" not in reading.warnings:
        return [reading._replace(warnings=(*reading.warnings, "several_shapes"))]
    return [reading]


def _by_parts(ink: Ink, plain: Canonical) -> list[Canonical]:
    """The ink without a part that goes round others; where there is none, its main part alone."""
    inner = ink.within(ink.mask)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(inner, connectivity=8)
    if ring := enclosing(stats):
        return [drawn(ink.part(ink.mask_of((labels > 0) & (labels != ring))))]
    groups = groups_of(inner)
    mass = np.bincount(groups.ravel(), ink.within(ink.depth).ravel())
    mass[0] = 0
    main = int(mass.argmax())
    alone = groups == main
    rows, rest = (np.flatnonzero(part.any(axis=1)) for part in (alone, (groups > 0) & ~alone))
    if not rest.size or np.ptp(rows) < LOWEST * len(alone):
        return []
    underlined = rest[0] > rows[-1] and np.ptp(rest) < FLAT * np.ptp(rows)
    reading = drawn(ink.part(ink.mask_of(alone)))
    warnings = reading.warnings
    if "several_shapes" in plain.warnings and "several_shapes" not in warnings:
        warnings = (*warnings, "several_shapes")  # the image still has them
    return [reading._replace(warnings=warnings, doubt=-UNDERLINED if underlined else PART)]


def _on_card(ink: Ink) -> list[Canonical]:
    """A reading of what lies on the card that the ink is; none where it is no card."""
    left, top, width, height = ink.box
    inked = cv2.countNonZero(ink.mask)
    if min(width, height) < CARD_SIDE or inked < LEAST * width * height:
        return []
    outlines, _ = cv2.findContours(ink.within(ink.mask), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outline = max(outlines, key=cv2.contourArea)
    if not _is_card(outline, inked, width * height):
        return []
    card = cv2.drawContours(np.zeros((height, width), np.uint8), [outline], -1, 255, cv2.FILLED)
    reach = 2 * int(EDGE * min(width, height)) + 3
    edge = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    card = cv2.erode(card, edge, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    rim = cv2.subtract(card, cv2.erode(card, edge, borderType=cv2.BORDER_CONSTANT, borderValue=0))
    plane, _ = ink.levels.part(left, top, left + width, top + height, DETAIL)
    card, rim = (cv2.resize(mask, plane.shape[::-1], interpolation=cv2.INTER_NEAREST) for mask in (card, rim))
    level = np.uint8(np.median(plane[rim > 0]))
    inner = find_ink(Levels(np.where(card > 0, plane, level)))
    if inner.blank or inner.level < CONTRAST * ink.level or not _is_distinct(inner):
        return []
    return [drawn(inner)._replace(doubt=-WITHIN)]


def _is_card(outline: np.ndarray, inked: int, box: int) -> bool:
    """Whether ink of this outline, so many pixels in a box of so many, is an upright card, a disc or a turned card."""
    area = cv2.contourArea(outline)
    _, (side, other), _ = cv2.minAreaRect(outline)
    narrow = min(side, other) < max(CARD_SIDE - 1, NARROW * max(side, other))  # a contour runs through pixels' middles
    if narrow or area < CONVEX * cv2.contourArea(cv2.convexHull(outline)):
        return False
    upright = area >= FILLED * box and inked >= COVERED * box
    return upright or (area >= RECTANGLE * side * other and inked >= SOLID * area)


def _is_distinct(ink: Ink) -> bool:
    """Whether ink on a card keeps off its edge and is tall enough for a digit."""
    left, top, width, height = ink.box
    high, wide = ink.mask.shape
    across, down = DISTINCT * wide, DISTINCT * high
    beside = left > across and left + width < wide - across
    inside = beside and top > down and top + height < high - down
    return bool(inside and height > SMALL * high)


def _filled(ink: Ink, plain: Canonical) -> list[Canonical]:
    """The digit whose strokes are outlined; nothing where none are.

    Of four outlines, each within the one before, the strokes' fill lies between the second and the third.
    """
    outlines, tree = cv2.findContours(ink.within(ink.mask), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    parents = tree[0, :, 3].tolist()
    holes = [i for i, parent in enumerate(parents) if parent >= 0 and parents[parent] < 0]  # of the outermost outlines
    least = HOLLOW * ink.box[2] * ink.box[3]
    if len(outlines) > TEXTURE or not any(_is_stroke(hole, outlines, parents, least) for hole in holes):
        return []
    solid = np.zeros((ink.box[3], ink.box[2]), np.uint8)
    for around, i in sorted((_around(i, parents), i) for i in range(len(outlines))):
        hole_of_the_digit = around % 4 == 3
        cv2.drawContours(solid, outlines, i, 0 if hole_of_the_digit else 255, cv2.FILLED)
    return [_silhouette(solid, plain, -WITHIN if plain.parts == 1 else 0.0)]


def _silhouette(solid: np.ndarray, plain: Canonical, doubt: float) -> Canonical:
    """Reading of what is solid, uint8 [h, w], 255 or 0, with the plain reading's warnings about the image."""
    reading = read_from(cv2.copyMakeBorder(solid, *(BORDER,) * 4, cv2.BORDER_CONSTANT))
    kept = tuple(warning for warning in ("low_contrast", "inverted", "cropped") if warning in plain.warnings)
    warnings = (*kept, *(warning for warning in reading.warnings if warning != "inverted"))
    return reading._replace(warnings=warnings, coarse=plain.coarse, doubt=doubt)


def _is_paler_within(ink: Ink) -> bool:
    """Whether the ink is paler than along its edge, as that of a digit that is drawn and then filled."""
    mask, depth = ink.within(ink.mask), ink.within(ink.depth)
    core = cv2.erode(mask, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    within = cv2.mean(depth, core)[0]
    if within > PALER * ink.level or cv2.countNonZero(core) < CORE * cv2.countNonZero(mask):
        return False
    return within < PALER * quantile(depth[cv2.subtract(mask, core) > 0], 0.75)


def _is_stroke(hole: int, outlines: Sequence[np.ndarray], parents: Sequence[int], least: float) -> bool:
    """Whether a hole, less what lies in it, is the inside of an outlined stroke: of the least area, and long."""
    inner = [outline for outline, parent in zip(outlines, parents, strict=True) if parent == hole]
    area = cv2.contourArea(outlines[hole]) - sum(map(cv2.contourArea, inner))
    around = sum(cv2.arcLength(outline, True) for outline in (outlines[hole], *inner))
    return area > least and around**2 > LONG * area


def _around(i: int, parents: Sequence[int]) -> int:
    """How many outlines go round an outline."""
    around = 0
    while (i := parents[i]) >= 0:
        around += 1
    return around
