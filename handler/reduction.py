"""Large pictures made smaller: box-filtered by a whole factor, part by part so that no second large copy is made."""

from collections.abc import Callable

import cv2
import numpy as np

PART = 64  # pixels of the result that are made at once, along the longer side


def reduced(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Means of blocks of factor x factor pixels, any of OpenCV's dtypes, [h, w] or [h, w, channels] (4: uint8 RGBA).

    A remainder of less than a block is cut off at the right and at the bottom; an extreme strip keeps a pixel.
    """
    if factor < 2:
        return pixels
    if pixels.ndim == 3 and pixels.shape[2] == 4:  # what is transparent must not colour its neighbours
        premultiplied = cv2.cvtColor(pixels, cv2.COLOR_RGBA2mRGBA)
        return cv2.cvtColor(_means(premultiplied, factor), cv2.COLOR_mRGBA2RGBA)
    return _means(pixels, factor)


def _means(pixels: np.ndarray, factor: int) -> np.ndarray:
    height, width = (max(side // factor, 1) for side in pixels.shape[:2])
    pixels = pixels[: height * factor, : width * factor]
    while factor % 2 == 0:  # halving is so much faster in OpenCV that twice is, too
        factor //= 2
        half = max(pixels.shape[1] // 2, 1), max(pixels.shape[0] // 2, 1)
        pixels = cv2.resize(pixels, half, interpolation=cv2.INTER_AREA)
    return pixels if factor == 1 else cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def reduced_in_parts(
    part: Callable[[int, int, int, int], np.ndarray], width: int, height: int, side: int
) -> np.ndarray:
    """As `reduced`, by the factor that brings the longer side to between once and twice `side`.

    Args:
        part: pixels of the box left, top, right, bottom of a picture of this width and height.
    """
    length = max(width, height)
    factor = length // side
    if factor < 2:
        return part(0, 0, width, height)
    whole, step = length // factor * factor, PART * factor
    ends = [(start, min(start + step, whole)) for start in range(0, whole, step)]
    if width > height:
        return np.hstack([reduced(part(left, 0, right, height), factor) for left, right in ends])
    return np.vstack([reduced(part(0, top, width, bottom), factor) for top, bottom in ends])
