"""What is uploaded: the first thousand test digits of MNIST as files of several formats, and a camera's large picture.

A file of pictures, for wrk and for the open-loop generator: before each picture its length, four bytes, big-endian.
"""

import struct
from pathlib import Path

import cv2
import numpy as np

COUNT = 1000
FORMATS = ("png", "rgb", "jpeg", "200")  # grey PNG, RGB PNG, grey JPEG: 28x28; grey PNG 200x200, dark on white
CAMERA = (3000, 4000)  # pixels; 12 megapixels


def write(folder: Path) -> dict[str, Path]:
    """A file of COUNT pictures for each of FORMATS. Raises train.mnist.DataError where MNIST cannot be had."""
    from train import mnist  # brings torch: too much for the open-loop generator, which only reads

    mnist.download()
    digits = mnist.load()[2].pictures[:COUNT].numpy()
    files = {}
    for form in FORMATS:
        files[form] = folder / f"digits-{form}.bin"
        encoded = (_encoded(digit, form) for digit in digits)
        files[form].write_bytes(b"".join(struct.pack("!I", len(data)) + data for data in encoded))
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


def _encoded(digit: np.ndarray, form: str) -> bytes:
    if form == "png":
        return cv2.imencode(".png", digit)[1].tobytes()
    if form == "rgb":
        return cv2.imencode(".png", cv2.merge((digit, digit, digit)))[1].tobytes()
    if form == "jpeg":
        return cv2.imencode(".jpg", digit)[1].tobytes()
    return cv2.imencode(".png", 255 - cv2.resize(digit, (200, 200), interpolation=cv2.INTER_CUBIC))[1].tobytes()
