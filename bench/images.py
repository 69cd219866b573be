"""What is uploaded: the first thousand test digits of MNIST as files of several formats, and a camera's large picture.

A file of pictures, for wrk and for the open-loop generator: before each picture its length, four bytes, big-endian.
"""

import struct
from pathlib import Path

import cv2
import numpy as np

COUNT = 1000
# Grey PNG, RGB PNG, grey JPEG: 28x28; grey PNG 200x200, dark on white; RGBA PNG 280x280, as a browser makes it of a
# canvas; colour JPEG 640x480, a photo in uneven light.
FORMATS = ("png", "rgb", "jpeg", "200", "canvas", "photo")
CANVAS = 280  # pixels
PHOTO = (480, 640)  # pixels
DIGIT = (100, 300)  # pixels; side of the 28x28 picture in a photo
CAMERA = (3000, 4000)  # pixels; 12 megapixels


def write(folder: Path) -> dict[str, Path]:
    """A file of COUNT pictures for each of FORMATS. Raises train.mnist.DataError where MNIST cannot be had."""
    from train import mnist  # brings torch: too much for the open-loop generator, which only reads

    mnist.download()
    digits = mnist.load()[2].pictures[:COUNT].numpy()
    rng, files = np.random.default_rng(0), {}
    for form in FORMATS:
        files[form] = folder / f"digits-{form}.bin"
        images = (encoded(digit, form, rng) for digit in digits)
        files[form].write_bytes(b"".join(struct.pack("!I", len(data)) + data for data in images))
    return files


def read(file: Path) -> list[bytes]:
    """The pictures of a file that `write` wrote."""
    data, found, at = file.read_bytes(), [], 0
    while at < len(data):
        (length,) = struct.unpack_from("!I", data, at)
        found.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def camera() -> bytes:
    """A JPEG of 12 megapixels: a dark digit on paper with the noise of a sensor."""
    digit = cv2.imread(str(Path(__file__).parent.parent / "samples/7.png"), cv2.IMREAD_GRAYSCALE)
    paper = 220 - 0.7 * cv2.resize(digit, CAMERA[::-1], interpolation=cv2.INTER_CUBIC).astype(np.float32)
    noisy = paper + np.random.default_rng(0).normal(0, 4, CAMERA).astype(np.float32)
    grey = np.clip(noisy, 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", cv2.merge((grey, grey, grey)), (cv2.IMWRITE_JPEG_QUALITY, 85))[1].tobytes()


def encoded(digit: np.ndarray, form: str, rng: np.random.Generator) -> bytes:
    """A picture of MNIST's, uint8 [28, 28], as a file of one of FORMATS."""
    if form == "rgb":
        return _png(cv2.merge((digit, digit, digit)))
    if form == "jpeg":
        return cv2.imencode(".jpg", digit)[1].tobytes()
    if form == "200":
        return _png(255 - cv2.resize(digit, (200, 200), interpolation=cv2.INTER_CUBIC))
    if form == "canvas":
        return _png(_canvas(digit), (cv2.IMWRITE_PNG_COMPRESSION, 6))  # as browsers do
    if form == "photo":
        return cv2.imencode(".jpg", _photo(digit, rng), (cv2.IMWRITE_JPEG_QUALITY, 85))[1].tobytes()
    return _png(digit)


def _png(pixels: np.ndarray, options: tuple[int, ...] = ()) -> bytes:
    return cv2.imencode(".png", pixels, options)[1].tobytes()


def _canvas(digit: np.ndarray) -> np.ndarray:
    """Black strokes with edges of a pixel or two on opaque white, RGBA."""
    large = cv2.resize(digit, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    grey = np.clip(255 - (large - 112) * 8, 0, 255).astype(np.uint8)
    return cv2.merge((grey, grey, grey, np.full_like(grey, 255)))


def _photo(digit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ink of a dark colour on pale paper, anywhere, under light that falls off to one side, BGR."""
    side = int(rng.integers(*DIGIT))
    top, left = (int(rng.integers(0, room - side)) for room in PHOTO)
    ink = np.zeros((*PHOTO, 1), np.float32)
    ink[top : top + side, left : left + side, 0] = cv2.resize(digit, (side, side), interpolation=cv2.INTER_CUBIC) / 255
    paper, pen = (
        rng.uniform(*levels) + rng.uniform(-15, 15, 3).astype(np.float32) for levels in ((190, 240), (20, 80))
    )
    along = np.linspace(1, 1 - rng.uniform(0.2, 0.5), PHOTO[1], dtype=np.float32)
    light = np.broadcast_to(along[:, None] if rng.random() < 0.5 else along[::-1, None], (*PHOTO, 1))
    photo = cv2.GaussianBlur((paper * (1 - ink) + pen * ink) * light, (0, 0), 1)
    return np.clip(photo + 1.5 * rng.standard_normal((*PHOTO, 1), np.float32), 0, 255).astype(np.uint8)
