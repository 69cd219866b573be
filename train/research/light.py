"""Light on paper, as a share of full light at each pixel: even, in shadows, and where something is reflected.

Each function takes the light that falls off over a photo, float [h, w], and a random generator, and returns it with
what stands in its way, or with what it is mirrored in. All ranges are drawn uniformly.
"""

from collections.abc import Callable

import cv2
import numpy as np

Light = Callable[[np.ndarray, np.random.Generator], np.ndarray]
SHADE = (0.35, 0.65)  # of the light; what a hand, a phone or leaves take away
SOFT = (1.0, 8.0)  # pixels; standard deviation of a shadow's edge
HAND = (0.2, 0.6)  # of the photo's height; half the axes of the ellipse
PHONE = (0.3, 0.8)  # of it; sides of the rectangle
FALL = (0.5, 1.5)  # of a lamp's light, exponent at the distance of half the photo's diagonal
LEAVES = (15, 40)  # how many patches of light, of ...
PATCH = (0.04, 0.15)  # ... the photo's height
GLARE = (0.25, 0.8)  # of full light, added


def hand(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The shadow of a hand or a head: an ellipse that ends inside the photo."""
    return light * (1 - rng.uniform(*SHADE) * _soft(_ellipse(light.shape, HAND, rng), rng))


def phone(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The shadow of the phone that takes the photo."""
    return light * (1 - rng.uniform(*SHADE) * _soft(_rectangle(light.shape, PHONE, rng), rng))


def vignette(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A lamp or a flash: bright in one place, darker with the distance from it."""
    height, width = light.shape
    x, y = rng.uniform(0.2, 0.8, 2) * (width, height)
    down, across = np.indices(light.shape)
    distance = np.hypot(across - x, down - y) / (np.hypot(width, height) / 2)
    return light * np.exp(-rng.uniform(*FALL) * distance**2)


def dappled(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light that falls through leaves: patches of it in their shadow."""
    patches = np.zeros(light.shape, np.float32)
    for _ in range(int(rng.integers(*LEAVES))):
        patches = np.maximum(patches, _ellipse(light.shape, PATCH, rng))
    return light * (1 - rng.uniform(*SHADE) * (1 - _soft(patches, rng)))


def reflection(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A lamp or a window that is mirrored in the paper."""
    shape = _ellipse(light.shape, HAND, rng) if rng.random() < 0.5 else _rectangle(light.shape, PHONE, rng)
    return light + rng.uniform(*GLARE) * _soft(shape, rng)


def _ellipse(shape: tuple[int, ...], size: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    axes = rng.uniform(*size, 2) * shape[0]
    middle = rng.uniform(0, 1, 2) * shape[::-1]
    filled = np.zeros(shape, np.float32)
    cv2.ellipse(filled, (middle.tolist(), (2 * axes).tolist(), rng.uniform(0, 180)), 1, -1)
    return filled


def _rectangle(shape: tuple[int, ...], size: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    sides = rng.uniform(*size, 2) * shape[0]
    middle = rng.uniform(0.1, 0.9, 2) * shape[::-1]
    corners = cv2.boxPoints((middle.tolist(), sides.tolist(), rng.uniform(-20, 20)))
    return cv2.fillPoly(np.zeros(shape, np.float32), [corners.astype(np.int32)], 1)


def _soft(shape: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(shape, (0, 0), rng.uniform(*SOFT))
