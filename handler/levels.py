"""Pixels of an image as a plane of grey levels, at full size and halved again and again.

pixels -> halves, down to LOCATE_SIDE -> the axis of colour on which ink and paper differ most -> grey on demand.
"""

from functools import lru_cache

import cv2
import numpy as np

LOCATE_SIDE = 128  # pixels; paper and ink are told apart in the level whose longer side is at most this
COLOURLESS = 24  # grey levels between channels; an image whose channels differ by less is taken as grey
SAMPLED = 24  # pixels of the shorter side; a sample tells colours as well as the whole
RING = 0.04  # of the shorter side; the frame taken for paper


class Levels:
    """An image, halved until its longer side is at most LOCATE_SIDE.

    Attributes:
        pixels: uint8 [h, w] or [h, w, 3] each, from the image as it is to the smallest.
        small: uint8 [h, w], the grey levels of the smallest.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = [pixels]
        while max(self.pixels[-1].shape[:2]) > LOCATE_SIDE:
            self.pixels.append(_halved(self.pixels[-1]))
        self._axis = None if pixels.ndim == 2 else _axis(self.pixels[-1])
        self.small = self.grey(self.pixels[-1])

    def grey(self, pixels: np.ndarray) -> np.ndarray:
        """Grey levels, uint8 [h, w], of pixels from any level."""
        if pixels.ndim == 2:
            return pixels
        return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if self._axis is None else cv2.transform(pixels, self._axis)

    def part(self, left: int, top: int, right: int, bottom: int, side: int) -> tuple[np.ndarray, int]:
        """Grey levels of a box of the smallest level, and how much finer they are.

        From the coarsest level in which the box is at least `side` long, else from the image as it is.
        """
        finer = 1
        last = len(self.pixels) - 1
        while last and max(right - left, bottom - top) * finer < side:
            last, finer = last - 1, finer * 2
        box = self.pixels[last][top * finer : bottom * finer, left * finer : right * finer]
        return self.grey(box), finer


def _halved(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    half = max(width // 2, 1), max(height // 2, 1)
    return cv2.resize(pixels[: 2 * half[1], : 2 * half[0]], half, interpolation=cv2.INTER_AREA)


def _axis(small: np.ndarray) -> np.ndarray | None:
    """Weights of the channels and an offset, float32 [1, 4], that give grey levels of 0 to 255; None for no colours.

    The axis along which colours differ most from the paper's, so that red on green of one brightness is seen.
    """
    first, second, third = cv2.split(small)
    if cv2.norm(first, second, cv2.NORM_INF) < COLOURLESS and cv2.norm(second, third, cv2.NORM_INF) < COLOURLESS:
        return None
    step = max(min(small.shape[:2]) // SAMPLED, 1)
    sample = small[::step, ::step].reshape(-1, 3)
    channels = zip(np.ascontiguousarray(sample.T), (first, second, third), strict=True)
    if step > 1 and any(misses_strokes(part, channel) for part, channel in channels):
        sample = small.reshape(-1, 3)
    paper = [quantile(sample[:, channel], 0.5) for channel in range(3)]
    away = sample.astype(np.float32) - np.array(paper, np.float32)
    axis = np.linalg.eigh(away.T @ away)[1][:, -1]
    axis = axis / np.abs(axis).sum() * (1 if axis.sum() >= 0 else -1)
    return np.array([[*axis, -255 * axis[axis < 0].sum()]], np.float32)


def misses_strokes(sample: np.ndarray, plane: np.ndarray) -> bool:
    """Whether a sample of every few rows and columns has less than half of the plane's contrast.

    Thin strokes that are quite upright or level may lie between them.
    """
    low, high, _, _ = cv2.minMaxLoc(plane)
    first, last, _, _ = cv2.minMaxLoc(sample)
    return 2 * (last - first) < high - low


def ring(plane: np.ndarray) -> np.ndarray:
    """The outermost pixels, [n]."""
    return plane.ravel().take(_ring(*plane.shape))


@lru_cache(maxsize=64)
def _ring(height: int, width: int) -> np.ndarray:
    """Where the outermost pixels are in the flattened plane."""
    deep = max(round(RING * min(height, width)), 1)
    places = np.arange(height * width).reshape(height, width)
    inner = places[deep:-deep, deep:-deep]
    return np.setdiff1d(places, inner, assume_unique=True)


def quantile(values: np.ndarray, share: float) -> int:
    """As numpy's, to the next lower value, of bytes."""
    return quantiles(values, share)[0]


def quantiles(values: np.ndarray, *shares: float) -> list[int]:
    """The quantile of bytes for each share."""
    ordered = np.sort(values, axis=None, kind="stable")  # of bytes that is a radix sort, the quickest way there is
    return [int(ordered[int(share * (ordered.size - 1))]) for share in shares]


def shrunk(plane: np.ndarray, side: int) -> np.ndarray:
    """The plane at side x side pixels: means of about what each covers, in a third of the time of INTER_AREA."""
    height, width = plane.shape
    reach = max(round(width / side), 1), max(round(height / side), 1)
    return cv2.resize(cv2.blur(plane, reach), (side, side), interpolation=cv2.INTER_LINEAR)
