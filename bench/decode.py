"""`python -m bench.decode`: what decoding costs in each library and reading in the handler; fills docs/pictures.md.

Times are of one thread, the best of ROUNDS means, since anything else on the machine only ever adds to them.
"""

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "handler"))

import cv2
import numpy as np
from PIL import Image

from reader import read
from train import tables

DOCUMENT = Path(__file__).parent.parent / "docs" / "pictures.md"
SAMPLE = Path(__file__).parent.parent / "samples" / "7.png"
ROUNDS = 5
TOGETHER = 64  # small images that are read in one call


def main() -> int:
    files = images()
    decoders = [
        [name, f"{len(data) / 1000:,.1f}", *(_shown(_seconds(lambda f=f, d=data: f(d))) for f in (_opencv, _pillow))]
        for name, data in files.items()
    ]
    tables.fill(DOCUMENT, "decoders", tables.table(["image", "kB", "OpenCV", "Pillow"], decoders))
    reading = []
    for name, data in files.items():
        count = TOGETHER if len(data) < 2000 else 1
        seconds = _seconds(lambda d=data, n=count: read([d] * n)) / count
        reading.append([name, f"{len(data) / 1000:,.1f}", _shown(seconds)])
    tables.fill(DOCUMENT, "reading", tables.table(["image", "kB", "time"], reading))
    print(DOCUMENT.read_text().split("<!-- reading -->")[1].split("<!-- /reading -->")[0])
    return 0


def images() -> dict[str, bytes]:
    """One digit in each format and size that counts, and a photo-like JPEG of 12 megapixels."""
    small = cv2.imread(str(SAMPLE), cv2.IMREAD_GRAYSCALE)
    page = 255 - cv2.resize(small, (1000, 1000), interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(0)
    sheet = 255 - cv2.copyMakeBorder(
        cv2.resize(small, (1400, 1400)), 800, 800, 1300, 1300, cv2.BORDER_CONSTANT, value=0
    )
    light = np.linspace(0.95, 0.6, 4000)[None, :]
    photo = np.clip((sheet * light)[..., None] + rng.normal(0, 5, (3000, 4000, 3)), 0, 255).astype(np.uint8)
    clear = np.dstack([np.zeros_like(small)] * 3 + [small])
    return {
        "28×28 grey PNG": _file(small, "PNG"),  # noqa: RUF001
        "28×28 RGB PNG": _file(np.dstack([small] * 3), "PNG"),  # noqa: RUF001
        "28×28 grey JPEG": _file(small, "JPEG"),  # noqa: RUF001
        "28×28 grey PNG, black on white": _file(255 - small, "PNG"),  # noqa: RUF001
        "28×28 RGBA PNG": _file(clear, "PNG"),  # noqa: RUF001
        "1000×1000 grey PNG": _file(page, "PNG"),  # noqa: RUF001
        "1000×1000 RGB PNG": _file(np.dstack([page] * 3), "PNG"),  # noqa: RUF001
        "1000×1000 RGB WebP": _file(np.dstack([page] * 3), "WEBP"),  # noqa: RUF001
        "4000×3000 JPEG": _file(photo, "JPEG", quality=85),  # noqa: RUF001
        "4000×3000 progressive JPEG": _file(photo, "JPEG", quality=85, progressive=True),  # noqa: RUF001
    }


def _file(pixels: np.ndarray, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def _opencv(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def _pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def _seconds(call: Callable[[], object]) -> float:
    """Best of ROUNDS means of as many calls as take a tenth of a second."""
    call()
    begun = time.perf_counter()
    call()
    many = max(int(0.1 / (time.perf_counter() - begun)), 1)
    means = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in range(many):
            call()
        means.append((time.perf_counter() - begun) / many)
    return min(means)


def _shown(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"


if __name__ == "__main__":
    sys.exit(main())
