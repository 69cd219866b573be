"""A picture of MNIST's -> what a phone's camera might have made of that digit, written in pen on paper.

ink drawn large on paper with grain -> seen in perspective -> lit unevenly -> blurred, noisy, stored as JPEG.
All ranges are drawn uniformly; docs/pictures.md repeats them.
"""

import cv2
import numpy as np

from digit import SIDE
from train.research.light import Light

WIDTH, HEIGHT = 480, 360  # pixels
DIGIT = (90, 260)  # pixels; side of the 28x28 picture on the paper
PERSPECTIVE = 0.12  # each corner moves by up to this share of the digit's side
ROTATION = 8.0  # degrees either way
PAPER = (170, 250)  # grey level of each colour channel, one draw for all, then ...
TINT = 12  # ... up to this for each
INK = (10, 90)  # likewise
GRAIN = (1.0, 5.0)  # grey levels; standard deviation, of two-pixel grain
LIGHT = (0.15, 0.55)  # darkest light, as the share lost across the photo, in any direction
SHADOW = 0.5  # share of photos with a soft-edged shadow over one side ...
SHADE = (0.15, 0.35)  # ... that takes this share of the light
BLUR = (0.5, 2.5)  # pixels; Gaussian
NOISE = (1.0, 6.0)  # grey levels; standard deviation, of each pixel and channel
QUALITY = (60, 95)


def photograph(picture: np.ndarray, rng: np.random.Generator, light: Light | None = None) -> bytes:
    """JPEG of the digit in `picture`, uint8 [28, 28], as dark ink on light paper, lit evenly or as `light` says."""
    ink = _on_paper(picture, rng)[..., None]
    paper_colour = rng.uniform(*PAPER) + rng.uniform(-TINT, TINT, 3)
    ink_colour = rng.uniform(*INK) + rng.uniform(-TINT, TINT, 3)
    paper = paper_colour + _grain(rng)[..., None]
    falls = _light(rng) if light is None else light(_falling(rng), rng)
    photo = (paper * (1 - ink) + ink_colour * ink) * falls[..., None]
    photo = cv2.GaussianBlur(photo.astype(np.float32), (0, 0), rng.uniform(*BLUR))
    photo += rng.normal(0, rng.uniform(*NOISE), photo.shape)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*QUALITY))]
    return cv2.imencode(".jpg", np.clip(photo, 0, 255).astype(np.uint8), quality)[1].tobytes()


def _on_paper(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ink, [HEIGHT, WIDTH] in 0..1: the digit at a random place, turned and in perspective."""
    side = rng.uniform(*DIGIT)
    angle = np.deg2rad(rng.uniform(-ROTATION, ROTATION))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    corners = (corners + rng.uniform(-PERSPECTIVE, PERSPECTIVE, (4, 2))) @ turn.T * side
    room = np.array([WIDTH, HEIGHT]) / 2 - np.abs(corners).max(axis=0)
    corners += np.array([WIDTH, HEIGHT]) / 2 + rng.uniform(-1, 1, 2) * np.clip(room, 0, None)
    source = np.float32([[0, 0], [SIDE, 0], [SIDE, SIDE], [0, SIDE]]) - 0.5
    view = cv2.getPerspectiveTransform(source, corners.astype(np.float32))
    return cv2.warpPerspective(picture.astype(np.float32) / 255, view, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC).clip(
        0, 1
    )


def _grain(rng: np.random.Generator) -> np.ndarray:
    coarse = rng.normal(0, rng.uniform(*GRAIN), (HEIGHT // 2, WIDTH // 2)).astype(np.float32)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)


_Y, _X = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]


def _falling(rng: np.random.Generator) -> np.ndarray:
    """Share of the light at each pixel, [HEIGHT, WIDTH]: less and less in one direction."""
    direction = rng.uniform(0, 2 * np.pi)
    along = (_X * np.cos(direction) + _Y * np.sin(direction)) / np.sqrt(2)
    return 1 - rng.uniform(*LIGHT) * (along + 1) / 2


def _light(rng: np.random.Generator) -> np.ndarray:
    """The same, and perhaps with a shadow that has a soft edge and runs through the whole photo."""
    light = _falling(rng)
    if rng.random() < SHADOW:
        direction, edge = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5)
        beyond = (_X * np.cos(direction) + _Y * np.sin(direction) - edge) / rng.uniform(0.05, 0.3)
        light *= 1 - rng.uniform(*SHADE) / (1 + np.exp(-4 * beyond))
    return light
