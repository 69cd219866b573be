"""Pixels of any picture -> how much ink is where: one plane, paper 0, ink positive whatever its colour.

transparency, colours -> one plane -> paper (flat, a gradient, or uneven) -> its difference from it, with the threshold
between paper and ink, the level of full ink and the paper's noise.
"""

from typing import NamedTuple

import cv2
import numpy as np

from paper import depth_of, find_paper, quantile, ring
from reduction import reduced
from transparency import opaque

LOCATE_SIDE = 256  # pixels; paper and ink are told apart in a picture reduced to this
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
        return depth_of(_along(pixels, self.axis) - paper, self.sign)


def find_ink(pixels: np.ndarray) -> Ink:
    """Ink in uint8 pixels, grey [h, w], RGB [h, w, 3] or RGBA [h, w, 4]."""
    pixels = opaque(pixels)
    factor = -(-max(pixels.shape[:2]) // LOCATE_SIDE)
    small = reduced(pixels, factor)
    axis = None if small.ndim == 2 else _axis(small)
    plane = _along(small, axis)
    paper, sign = find_paper(plane)
    depth = depth_of(plane - paper, sign)
    return Ink(pixels, small, factor, axis, paper, depth, sign, *_levels(depth))


def _axis(pixels: np.ndarray) -> np.ndarray:
    """The axis, float32 [3], along which colours differ most from the frame's; its absolute parts sum to 1."""
    away = cv2.subtract(pixels.astype(np.float32), np.array([*np.median(ring(pixels), axis=0), 0])).reshape(-1, 3)
    _, axes = np.linalg.eigh(away.T @ away)
    axis = axes[:, -1]
    return axis / np.abs(axis).sum() * (1 if axis.sum() >= 0 else -1)


def _along(pixels: np.ndarray, axis: np.ndarray | None) -> np.ndarray:
    """Float32 [h, w] of grey or coloured pixels."""
    return pixels.astype(np.float32) if axis is None else cv2.transform(pixels.astype(np.float32), axis[None, :])


def _levels(depth: np.ndarray) -> tuple[float, float, float]:
    """Threshold between paper and ink (Otsu's, within reason), level of full ink, noise of the paper."""
    noise = 1.4826 * quantile(np.abs(ring(depth)), 0.5)
    top = float(depth.max())
    if top < 2:
        return 1.0, 0.0, noise
    counted = np.clip(depth * (255 / top), 0, 255).astype(np.uint8)
    otsu, _ = cv2.threshold(counted, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    threshold = max(otsu * top / 255, 3 * noise)
    inked = depth[depth > threshold]
    level = quantile(inked, 0.9) if inked.size else 0.0
    return min(max(threshold, 0.4 * level), 0.6 * level), level, noise
