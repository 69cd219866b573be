"""Pictures of MNIST's -> images as people would upload them: other sizes, places, colours, formats.

Each function takes pictures, uint8 [n, 28, 28], and a random generator, and yields n encoded files.
"""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from train.corruptions import Corruption, corrupt
from train.photo import photograph

Upload = Callable[[np.ndarray, np.random.Generator], Iterator[bytes]]
FASHION = Path("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")  # Debian: dataset-fashion-mnist
CHUNK = 500  # pictures that are corrupted at once


def plain(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
    return map(png, pictures)


def black_on_white(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
    return (png(255 - picture) for picture in pictures)


def enlarged(times: int) -> Upload:
    """Enlarged by cubic interpolation, black on white."""

    def upload(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
        return (png(255 - _larger(picture, times)) for picture in pictures)

    return upload


def anywhere(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
    """Enlarged 1 to 6 times on a sheet of up to three times the digit's side: any margin, any place."""
    for picture in pictures:
        large = _larger(picture, int(rng.integers(1, 7)))
        side = len(large)
        top, left, bottom, right = (int(m) for m in rng.integers(0, side, 4))
        yield png(255 - cv2.copyMakeBorder(large, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0))


def jpeg_50(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
    return (jpeg(picture, 50) for picture in pictures)


def large_jpeg_50(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
    return (jpeg(255 - _larger(picture, 8), 50) for picture in pictures)


def coloured(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
    """Ink and paper of any two colours that differ by at least 90 levels in one channel, enlarged 4 times."""
    for picture in pictures:
        paper = ink = rng.integers(0, 256, 3)
        while np.abs(ink - paper).max() < 90:
            ink = rng.integers(0, 256, 3)
        share = _larger(picture, 4)[:, :, None] / 255
        yield png((paper * (1 - share) + ink * share).round().astype(np.uint8))


def strokes_on_nothing(grey: int) -> Upload:
    """RGBA: strokes of one grey on a transparent ground, enlarged 4 times."""

    def upload(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
        for picture in pictures:
            alpha = _larger(picture, 4)
            yield png(np.dstack([np.full_like(alpha, grey)] * 3 + [alpha]))

    return upload


def photographed(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
    return (photograph(picture, rng) for picture in pictures)


def corrupted(corruption: Corruption) -> Upload:
    def upload(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
        for start in range(0, len(pictures), CHUNK):
            yield from map(png, corrupt(pictures[start : start + CHUNK], corruption, seed=start))

    return upload


def nothing(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
    """A third blank or of one colour, a third uniform or Gaussian noise, a third salt on black; 28 to 200 pixels."""
    for i in range(len(pictures)):
        side = int(rng.integers(28, 200))
        yield png((_solid, _noise, _salt)[i % 3](side, rng))


def _solid(side: int, rng: np.random.Generator) -> np.ndarray:
    colour = rng.choice([0, 255]) * np.ones(3) if rng.random() < 0.5 else rng.integers(0, 256, 3)
    return np.broadcast_to(colour, (side, side, 3)).astype(np.uint8)


def _noise(side: int, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.5:
        return rng.integers(0, 256, (side, side), dtype=np.uint8)
    return np.clip(rng.normal(128, rng.uniform(5, 60), (side, side)), 0, 255).astype(np.uint8)


def _salt(side: int, rng: np.random.Generator) -> np.ndarray:
    return ((rng.random((side, side)) < rng.uniform(0.05, 0.3)) * 255).astype(np.uint8)


def _larger(picture: np.ndarray, times: int) -> np.ndarray:
    return cv2.resize(picture, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def jpeg(pixels: np.ndarray, quality: int) -> bytes:
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def fashion() -> np.ndarray:
    """Fashion-MNIST's test pictures, uint8 [10000, 28, 28]. Raises FileNotFoundError saying what to install."""
    if not FASHION.exists():
        raise FileNotFoundError(f"{FASHION} is missing; `apt-get install dataset-fashion-mnist` brings it")
    return np.frombuffer(gzip.decompress(FASHION.read_bytes()), np.uint8)[16:].reshape(-1, 28, 28)


def digits_8x8() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's load_digits: 1,797 digits of other writers, uint8 [n, 8, 8], light on dark, and their labels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images * (255 / 16)).round().astype(np.uint8), found.target
