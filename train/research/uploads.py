"""Pictures of MNIST's -> images as people would upload them: other sizes, places, colours, formats.

Each function takes pictures, uint8 [n, 28, 28], and a random generator, and yields n encoded files.
"""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from train.research.corruptions import Corruption, corrupt
from train.research.light import Light
from train.research.lines import BOX, box_of
from train.research.photo import photograph

Upload = Callable[[np.ndarray, np.random.Generator], Iterator[bytes]]
FASHION = Path("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")  # Debian: dataset-fashion-mnist
STRAIGHTENED = 8.0  # degrees either way
FILM_HEAD = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp42"  # of an MP4 file
FILM_SCANS, FILM_PART = 50, 1000
CUT_OUT = (20.0, 100.0)  # pixels; height of a digit that is cut out of a line ...
GAP = (0.1, 0.4)  # ... in digits' heights; to the one before and the one after, between boxes as wide as its own ...
CUT_MARGIN = (0.1, 0.5)  # ... likewise; how far from the digit the cut is
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


def coloured_pen(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
    """RGBA: strokes whose colour changes along them on a transparent ground, enlarged 4 times."""
    for picture in pictures:
        alpha = _larger(picture, 4)
        colours = rng.integers(0, 256, (*rng.integers(1, 5, 2), 3)).astype(np.uint8)
        yield png(np.dstack([cv2.resize(colours, alpha.shape[::-1]).reshape(*alpha.shape, 3), alpha]))


def dim(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
    """With a half to a sixteenth of the light, negatives among them."""
    for picture in pictures:
        faint = (picture * rng.uniform(1 / 16, 1 / 2)).round().astype(np.uint8)
        yield png(faint if rng.random() < 0.5 else 255 - faint)


def cut_out(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
    """Cut out of a line of digits, with parts of those before and after it at the edges."""
    for picture in pictures:
        scale = rng.uniform(*CUT_OUT) / BOX
        first, ink, last = (_larger(one, scale) for one in (rng.choice(pictures), picture, rng.choice(pictures)))
        (left, _, width, _), gap = box_of(picture), rng.uniform(*GAP, 2) * BOX
        line = np.zeros((len(ink), 3 * len(ink)), np.uint8)
        for other, middle in ((first, -width - gap[0]), (ink, 0), (last, width + gap[1])):
            at = len(ink) + round(scale * middle)
            line[:, at : at + len(ink)] = np.maximum(line[:, at : at + len(ink)], other)
        margin = rng.uniform(*CUT_MARGIN, 2) * BOX
        ends = len(ink) + np.round(scale * np.array([left - margin[0], left + width + margin[1]])).astype(int)
        yield png(255 - line[:, max(ends[0], 0) : ends[1]])


def photographed_in(light: Light) -> Upload:
    """Photos in this light."""

    def upload(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
        return (photograph(picture, rng, light) for picture in pictures)

    return upload


def drawn_by(draw: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Upload:
    """PNG of the pixels that `draw` makes of each picture."""

    def upload(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
        return (png(draw(picture, rng)) for picture in pictures)

    return upload


def transparent_corners(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
    """Dark on an opaque sheet, transparent in its corners only: one pixel, rounded corners, a sheet turned upright.

    The colour of what is transparent is black in half of them, the sheet's in the other half.
    """
    for i, picture in enumerate(pictures):
        drawn = _larger(picture, int(rng.integers(3, 9)))
        margin = int(rng.uniform(0, 2) * len(drawn))  # with a wide one the ink is less than a fiftieth of the sheet
        grey = 255 - cv2.copyMakeBorder(drawn, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0)
        alpha = (_one_pixel, _rounded, _straightened)[i % 3](len(grey), rng)
        if rng.random() < 0.5:
            grey[alpha == 0] = 0
        yield png(cv2.merge((grey, grey, grey, alpha)))


def _one_pixel(side: int, rng: np.random.Generator) -> np.ndarray:
    alpha = np.full((side, side), 255, np.uint8)
    alpha[rng.choice([0, -1]), rng.choice([0, -1])] = 0
    return alpha


def _rounded(side: int, rng: np.random.Generator) -> np.ndarray:
    """As of a screenshot's window: a radius of 2 to 12 % of the side."""
    radius = rng.uniform(0.02, 0.12) * side
    away = np.maximum(abs(np.arange(side) + 0.5 - side / 2) - (side / 2 - radius), 0)
    return (np.clip(radius + 0.5 - np.hypot(away[:, None], away), 0, 1) * 255).astype(np.uint8)


def _straightened(side: int, rng: np.random.Generator) -> np.ndarray:
    """As of a scan turned by up to 5 degrees: what was outside it is transparent."""
    sheet = np.full((side, side), 255, np.uint8)
    turn = cv2.getRotationMatrix2D((side / 2 - 0.5, side / 2 - 0.5), rng.choice([-1, 1]) * rng.uniform(1, 5), 1)
    return cv2.warpAffine(sheet, turn, (side, side))


def photographed(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
    return (photograph(picture, rng) for picture in pictures)


def straightened_photos(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
    """Photos turned by up to STRAIGHTENED degrees as PNG; the ground around them is transparent."""
    for picture in pictures:
        photo = cv2.imdecode(np.frombuffer(photograph(picture, rng), np.uint8), cv2.IMREAD_COLOR)
        height, width = photo.shape[:2]
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-1, 1) * STRAIGHTENED, 1)
        side = np.ceil(np.abs(turn[:, :2]) @ [width, height])
        turn[:, 2] += (side - [width, height]) / 2
        sheet = cv2.cvtColor(photo, cv2.COLOR_BGR2BGRA)
        yield png(cv2.warpAffine(sheet, turn, side.astype(int).tolist(), flags=cv2.INTER_CUBIC))


def motion_photos(pictures: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
    """Photos with a film behind their end, as phones append it.

    The film is short, but by chance it starts as many JPEG scans as one of FILM_SCANS * 64 kB.
    """
    for picture in pictures:
        parts = [rng.bytes(FILM_PART) for _ in range(FILM_SCANS)]
        yield photograph(picture, rng) + FILM_HEAD + b"\xff\xda".join(parts)


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


def _larger(picture: np.ndarray, times: float) -> np.ndarray:
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
