"""Pixels with alpha -> opaque ones: the alpha itself where it is the drawing, else the colours on their own ground.

the same alpha all over -> colours; opaque nearly everywhere -> a sheet; what is shown of one colour, or in the shape of
strokes -> alpha; else a sheet of whatever outline. What is missing from a sheet gets the colour of what is near.
"""

import cv2
import numpy as np

from ink import SQUARE

SAME = 10  # levels; alpha that varies by less says nothing
SHEET = 0.95  # of the picture; what is opaque on more is a sheet with bits missing, not a drawing
COLOURFUL = 24  # levels of a channel; what varies by more, as pale pencil on paper does, is of several colours
GRID = 32  # cells; side of the square on which a sheet's colour is estimated ...
STROKE_REACH = 9  # ... by the median of so many, odd, which is wider than two strokes
FILLED = 0.7  # of the smallest rectangle around it, at any angle; strokes of a digit leave more of theirs empty ...
NARROW = 0.35  # ... but for those of a one, whose rectangle's shorter side is less than this of the longer


def opaque(pixels: np.ndarray) -> np.ndarray:
    """Uint8 [h, w], brightest where most opaque, or RGB [h, w, 3], of RGBA [h, w, 4]; others stay as they are."""
    if pixels.ndim < 3 or pixels.shape[2] < 4:
        return pixels
    alpha = cv2.extractChannel(pixels, 3)
    low, high, _, _ = cv2.minMaxLoc(alpha)
    if high - low < SAME:
        return cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)
    _, shown = cv2.threshold(alpha, (low + high) / 2, 255, cv2.THRESH_BINARY)
    return _on_own_ground(pixels, alpha, shown) if _is_sheet(pixels, shown) else alpha


def _is_sheet(pixels: np.ndarray, shown: np.ndarray) -> bool:
    """Whether what is shown is something that was drawn on, rather than the drawing."""
    if cv2.countNonZero(shown) > SHEET * shown.size:
        return True
    inner = cv2.erode(shown, SQUARE)  # the edges of one colour are of many, where they are mixed with what is clear
    return _is_colourful(pixels, inner) and _has_shape_of_sheet(shown)


def _is_colourful(pixels: np.ndarray, shown: np.ndarray) -> bool:
    for channel in range(3):
        low, high, _, _ = cv2.minMaxLoc(cv2.extractChannel(pixels, channel), shown)
        if high - low > COLOURFUL:
            return True
    return False


def _has_shape_of_sheet(shown: np.ndarray) -> bool:
    """Whether what is shown fills the smallest rectangle around it, which is not narrow."""
    _, (width, height), _ = cv2.minAreaRect(cv2.findNonZero(shown))
    filled = cv2.countNonZero(shown) > FILLED * (width + 1) * (height + 1)
    return filled and min(width, height) > NARROW * max(width, height)


def _on_own_ground(pixels: np.ndarray, alpha: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """The colours, and where they are transparent those of the sheet nearby: light that falls off goes on doing so."""
    alpha = cv2.erode(alpha, SQUARE)  # a turned sheet's outermost pixels are mixed with what was around it
    sheet = cv2.insertChannel(alpha, pixels.copy(), 3)
    inked = cv2.cvtColor(cv2.cvtColor(sheet, cv2.COLOR_RGBA2mRGBA), cv2.COLOR_RGBA2RGB)
    ground = cv2.resize(_ground(pixels, shown), alpha.shape[::-1], interpolation=cv2.INTER_LINEAR)
    clear = cv2.bitwise_not(alpha)
    return cv2.add(inked, cv2.multiply(ground, cv2.merge([clear] * 3), scale=1 / 255))


def _ground(pixels: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Colour of the sheet, RGB [GRID, GRID, 3], without the strokes on it and continued beyond its outline."""
    inside = cv2.resize(cv2.erode(shown, SQUARE), (GRID, GRID), interpolation=cv2.INTER_AREA)
    known = inside == inside.max()
    cells = cv2.cvtColor(cv2.resize(pixels, (GRID, GRID), interpolation=cv2.INTER_AREA), cv2.COLOR_RGBA2RGB)
    _, nearest = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = np.zeros((nearest.max() + 1, 3), np.uint8)
    colours[nearest[known]] = cells[known]
    return cv2.medianBlur(colours[nearest], STROKE_REACH)
