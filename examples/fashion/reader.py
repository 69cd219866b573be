"""How an image becomes a picture of Fashion-MNIST's kind: grey, light on dark, its longer side 28 pixels."""

from collections.abc import Sequence

import cv2
import numpy as np

from decode import PictureError
from digit import SIDE
from reading import Reading, read_each


def read(images: Sequence[bytes], max_pixels: int) -> tuple[np.ndarray, list[Reading | PictureError]]:
    """The pictures, uint8 [m, 28, 28], of the m images that can be read; and a Reading or an error for each image."""
    return read_each(images, max_pixels, picture_of)


def picture_of(pixels: np.ndarray) -> np.ndarray:
    """The picture, uint8 [28, 28], of pixels, uint8 [h, w], [h, w, 3] RGB or [h, w, 4] RGBA."""
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels[:, :, :3], cv2.COLOR_RGB2GRAY)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    if np.median(border) > 127:  # a photo on a light ground
        grey = 255 - grey
    scale = SIDE / max(grey.shape)
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    small = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    picture = np.zeros((SIDE, SIDE), np.uint8)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    picture[top : top + height, left : left + width] = small
    return picture
