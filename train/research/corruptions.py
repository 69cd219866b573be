"""MNIST-C's fifteen corruptions: pictures uint8 [n, 28, 28] -> the same, corrupted; written from their parameters.

N. Mu, J. Gilmer: MNIST-C: A Robustness Benchmark for Computer Vision, 2019 (arXiv:1906.02337); the parameters are the
defaults of the code published with it. The noise, blur and weather among them follow D. Hendrycks, T. Dietterich:
Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR 2019.
"""

from collections.abc import Callable

import cv2
import numpy as np

from digit import SIDE

Corruption = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # float [n, 28, 28] in 0..1 -> the same, unclipped
MIDDLE = (SIDE - 1) / 2
GLASS_SIGMA, GLASS_ROUNDS = 0.7, 2
MOTION_RADIUS, MOTION_SIGMA = 10, 3
FOG, FOG_DECAY, FOG_MAP = 3.0, 1.4, 256
SPATTER_MEAN, SPATTER_SPREAD, SPATTER_LEVEL, SPATTER_BLUR = 0.65, 0.3, 0.65, 1.5
LINE_REACH = 2.3  # pixels from a line's middle to where it has faded


def shot_noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.poisson(x * 3) / 3


def impulse_noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    hit = rng.random(x.shape) < 0.17
    return np.where(hit, rng.random(x.shape) < 0.5, x)


def glass_blur(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blurred, neighbouring pixels swapped at random, blurred again; all pictures share the way through the pixels."""
    x = _blurred(x, GLASS_SIGMA)
    every = np.arange(len(x))
    for _ in range(GLASS_ROUNDS):
        for h in range(SIDE - 1, 1, -1):
            for w in range(SIDE - 1, 1, -1):
                n = every[rng.random(len(x)) < 0.5]
                dy, dx = rng.integers(-1, 1, (2, len(n)))
                here, there = x[n, h, w].copy(), x[n, h + dy, w + dx].copy()
                x[n, h, w], x[n, h + dy, w + dx] = there, here
    return _blurred(x, GLASS_SIGMA)


def motion_blur(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Smeared to one side along a line, with the falling half of a Gaussian."""
    steps = np.arange(2 * MOTION_RADIUS + 1)
    weights = np.exp(-(steps**2) / (2 * MOTION_SIGMA**2))
    weights /= weights.sum()
    angles = np.deg2rad(rng.uniform(-45, 45, len(x)))
    kernels = np.zeros((len(x), 2 * len(steps) + 1, 2 * len(steps) + 1), np.float32)
    for step, weight in zip(steps, weights, strict=True):
        down = np.round(len(steps) + step * np.sin(angles)).astype(int)
        across = np.round(len(steps) + step * np.cos(angles)).astype(int)
        kernels[np.arange(len(x)), down, across] += weight
    return _each(x, lambda a, i: cv2.filter2D(a, -1, kernels[i], borderType=cv2.BORDER_REPLICATE))


def shear(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    angles = 0.4 * _signs(rng, len(x))
    return _warped(x, [np.array([[1, -np.sin(a)], [0, np.cos(a)]]) for a in angles])


def scale(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _warped(x, [np.eye(2) / 0.7] * len(x))


def rotate(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    angles = 0.4 * _signs(rng, len(x))
    return _warped(x, [np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in angles])


def brightness(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return x + 0.5


def translate(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shifts = 3 * np.stack([_signs(rng, len(x)), _signs(rng, len(x))], axis=1)
    return _warped(x, [np.eye(2)] * len(x), shifts)


def stripe(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The left and the right quarter inverted."""
    x = x.copy()
    x[:, :, :7] = 1 - x[:, :, :7]
    x[:, :, 21:] = 1 - x[:, :, 21:]
    return x


def fog(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    brightest = x.max(axis=(1, 2), keepdims=True)
    clouds = np.stack([_plasma(rng)[:SIDE, :SIDE] for _ in x])
    return (x + FOG * clouds) * brightest / (brightest + FOG)


def spatter(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    liquid = _blurred(rng.normal(SPATTER_MEAN, SPATTER_SPREAD, x.shape), 1)
    mud = _blurred((liquid > SPATTER_LEVEL).astype(np.float32), SPATTER_BLUR)
    mud[mud < 0.8] = 0
    return x * (1 - mud) + mud * 63 / 255


def dotted_line(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    ends = rng.integers(0, 27, (len(x), 2))
    lines = np.stack([_line(0, a, 27, b) for a, b in ends])
    gaps = (np.arange(SIDE) // 2) % 2 == 0
    return x + np.where(gaps, 0, lines)


def zigzag(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    starts = rng.integers(0, 27, len(x))
    ends = starts + rng.integers(-5, 5, len(x))
    return x + np.stack([_zigzag(a, b) for a, b in zip(starts, ends, strict=True)])


def canny_edges(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    grey = (_blurred(x, 1) * 255).astype(np.uint8)
    return np.stack([cv2.Canny(a, 25, 51, apertureSize=3, L2gradient=True) for a in grey]) / 255


def _zigzag(start: int, end: int) -> np.ndarray:
    """From column 2 to 25 in teeth of two pixels to either side."""
    step, first, last = 2.0, 2, 25
    tilt = np.arctan((end - start) / (last - first))
    length = (last - first) / np.cos(tilt)
    teeth = int((length - step) // (2 * step)) + 1
    along = [0.0, *((2 * i + 1) * step for i in range(teeth)), length]
    aside = [0.0, *((-1) ** i * step for i in range(teeth)), 0.0]
    columns = first + np.cos(tilt) * np.array(along) - np.sin(tilt) * np.array(aside)
    rows = start + np.sin(tilt) * np.array(along) + np.cos(tilt) * np.array(aside)
    parts = zip(columns, rows, columns[1:], rows[1:], strict=False)
    return np.clip(sum(_line(*part) for part in parts), 0, 1)


def _line(column: float, row: float, last_column: float, last_row: float) -> np.ndarray:
    """A line that fades to its sides as 1 + log(1 - distance / LINE_REACH), the distance taken down the column."""
    if last_column == column:
        return np.zeros((SIDE, SIDE))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    middle = row + (last_row - row) / (last_column - column) * (columns - column)
    away = np.minimum(np.abs(rows - middle), LINE_REACH - 1e-10)
    within = (columns >= np.floor(column)) & (columns < np.ceil(last_column))
    return np.where(within, np.clip(1 + np.log(1 - away / LINE_REACH), 0, 1), 0)


def _plasma(rng: np.random.Generator) -> np.ndarray:
    """Fractal clouds, [FOG_MAP, FOG_MAP] in 0..1, by diamond and square steps on a torus."""
    field = np.zeros((FOG_MAP, FOG_MAP))
    step, amplitude = FOG_MAP, 100.0
    while step >= 2:
        half = step // 2
        noise = lambda corners: corners / 4 + amplitude * rng.uniform(-amplitude, amplitude, corners.shape)  # noqa: B023, E731
        corner = field[::step, ::step]
        pair = corner + np.roll(corner, -1, axis=0)
        field[half::step, half::step] = noise(pair + np.roll(pair, -1, axis=1))
        centre = field[half::step, half::step]
        field[::step, half::step] = noise(centre + np.roll(centre, 1, axis=0) + corner + np.roll(corner, -1, axis=1))
        field[half::step, ::step] = noise(centre + np.roll(centre, 1, axis=1) + corner + np.roll(corner, -1, axis=0))
        step, amplitude = half, amplitude / FOG_DECAY
    field -= field.min()
    return field / field.max()


def _signs(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.choice([-1, 1], n)


def _each(x: np.ndarray, change: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
    return np.stack([change(picture.astype(np.float32), i) for i, picture in enumerate(x)])


def _blurred(x: np.ndarray, sigma: float) -> np.ndarray:
    return _each(x, lambda a, _: cv2.GaussianBlur(a, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))


def _warped(x: np.ndarray, maps: list[np.ndarray], shifts: np.ndarray | None = None) -> np.ndarray:
    """Each picture sampled at map @ (column, row), the middle kept in place, then shifted."""
    shifts = np.zeros((len(x), 2)) if shifts is None else shifts

    def change(picture: np.ndarray, i: int) -> np.ndarray:
        fixed = MIDDLE - maps[i] @ [MIDDLE, MIDDLE] + shifts[i]
        matrix = np.hstack([maps[i], fixed[:, None]])
        return cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)

    return _each(x, change)


# Kinds that training augments with as well (affine warps, noise, blur), if by other formulas and more gently; and kinds
# that it never saw anything of.
SEEN: tuple[Corruption, ...] = (shot_noise, impulse_noise, glass_blur, motion_blur, shear, scale, rotate, translate)
UNSEEN: tuple[Corruption, ...] = (brightness, stripe, fog, spatter, dotted_line, zigzag, canny_edges)


def corrupt(pictures: np.ndarray, corruption: Corruption, seed: int = 0) -> np.ndarray:
    """`pictures`, uint8 [n, 28, 28], after `corruption`; bit for bit the same for the same seed."""
    changed = corruption(pictures.astype(np.float64) / 255, np.random.default_rng(seed))
    return (np.clip(changed, 0, 1) * 255).astype(np.uint8)
