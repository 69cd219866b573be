"""`python -m bench.decoders`: what it costs to decode and to read images; fills the tables in docs/pictures.md.

Times are of one thread, the best of ROUNDS means, since anything else on the machine only ever adds to them. Memory is
the peak of a process that reads one image, less what it held before (Linux only).
"""

import io
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "handler"))

import cv2
import numpy as np
from PIL import ExifTags, Image

from bench import images
from decode import decode
from reader import Reading, read
from train import tables

DOCUMENT = Path(__file__).parent.parent / "docs" / "pictures.md"
SAMPLE = Path(__file__).parent.parent / "samples" / "7.png"
ROUNDS = 5
TOGETHER = 64  # small images that are read in one call
LARGE = 8000, 5000  # pixels: the largest that is read by default


def main() -> int:
    files = samples()
    decoders = [
        [name, f"{len(data) / 1000:,.1f}", *(_shown(_seconds(lambda f=f, d=data: f(d))) for f in DECODERS.values())]
        for name, data in files.items()
    ]
    tables.fill(DOCUMENT, "decoders", tables.table(["image", "kB", *DECODERS], decoders))
    reading = []
    for name, data in files.items():
        count = TOGETHER if len(data) < 2000 else 1
        seconds = _seconds(lambda d=data, n=count: read([d] * n)) / count
        reading.append([name, f"{len(data) / 1000:,.1f}", _shown(seconds)])
    tables.fill(DOCUMENT, "reading", tables.table(["image", "kB", "time"], reading))
    peaks = [[name, f"{len(data) / 1000:,.0f}", f"{peak_memory(data):,.0f} MiB"] for name, data in large_images()]
    tables.fill(DOCUMENT, "memory", tables.table(["image of 40 megapixels", "kB", "memory"], peaks))
    for name in ("decoders", "reading", "memory"):
        print(tables.read(DOCUMENT, name))
    return 0


def samples() -> dict[str, bytes]:
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
    forms = ("200", "canvas", "photo")
    scan, canvas, phone = (images.encoded(small, form, np.random.default_rng(0)) for form in forms)
    return {
        "28×28 grey PNG": _file(small, "PNG"),  # noqa: RUF001
        "28×28 RGB PNG": _file(np.dstack([small] * 3), "PNG"),  # noqa: RUF001
        "28×28 grey JPEG": _file(small, "JPEG"),  # noqa: RUF001
        "28×28 grey PNG, black on white": _file(255 - small, "PNG"),  # noqa: RUF001
        "28×28 RGBA PNG": _file(clear, "PNG"),  # noqa: RUF001
        "200×200 grey PNG, a scan": scan,  # noqa: RUF001
        "280×280 RGBA PNG, a canvas": canvas,  # noqa: RUF001
        "640×480 JPEG, a photo": phone,  # noqa: RUF001
        "1000×1000 grey PNG": _file(page, "PNG"),  # noqa: RUF001
        "1000×1000 RGB PNG": _file(np.dstack([page] * 3), "PNG"),  # noqa: RUF001
        "1000×1000 RGBA PNG": _file(np.dstack([page] * 3 + [np.full_like(page, 255)]), "PNG"),  # noqa: RUF001
        "1000×1000 RGB WebP": _file(np.dstack([page] * 3), "WEBP"),  # noqa: RUF001
        "4000×3000 JPEG": _file(photo, "JPEG", quality=85),  # noqa: RUF001
        "4000×3000 progressive JPEG": _file(photo, "JPEG", quality=85, progressive=True),  # noqa: RUF001
    }


def large_images() -> Iterator[tuple[str, bytes]]:
    """A digit on 40 megapixels in the formats and modes that take most memory; one at a time."""
    small = cv2.imread(str(SAMPLE), cv2.IMREAD_GRAYSCALE)
    grey = Image.fromarray(255 - cv2.resize(small, LARGE))
    rgb, cmyk, clear = grey.convert("RGB"), grey.convert("CMYK"), grey.convert("RGBA")
    clear.putalpha(Image.eval(grey, lambda v: 255 - v))
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    yield "grey PNG", _saved(grey, "PNG", compress_level=1)
    yield "RGB PNG", _saved(rgb, "PNG", compress_level=1)
    yield "RGBA PNG", _saved(clear, "PNG", compress_level=1)
    yield "palette PNG with transparency", _saved(grey.convert("P"), "PNG", compress_level=1, transparency=0)
    yield "RGB JPEG", _saved(rgb, "JPEG")
    yield "progressive RGB JPEG", _saved(rgb, "JPEG", progressive=True, subsampling=0)
    yield "progressive CMYK JPEG", _saved(cmyk, "JPEG", progressive=True)
    yield "RGB WebP", _saved(rgb, "WEBP", method=0)
    yield "RGBA WebP", _saved(clear, "WEBP", method=0)
    yield "animated RGBA WebP", _saved(clear, "WEBP", method=0, save_all=True, append_images=[rgb])
    yield "GIF", _saved(grey, "GIF")
    yield "RGBA TIFF, deflated", _saved(clear, "TIFF", compression="tiff_adobe_deflate")
    yield "CMYK TIFF, deflated", _saved(cmyk, "TIFF", compression="tiff_adobe_deflate")
    yield "RGB TIFF, turned by EXIF", _saved(rgb, "TIFF", compression="tiff_adobe_deflate", exif=turned)


def peak_memory(image: bytes) -> float:
    """MiB that reading an image adds to the peak of a fresh process that has read a small one before."""
    script = f"import sys; sys.path[:0] = {sys.path!r}; from bench.decoders import print_peak; print_peak()"
    done = subprocess.run([sys.executable, "-c", script], input=image, capture_output=True, check=True)
    return int(done.stdout) / 1024


def print_peak() -> None:
    """KiB that reading the image on standard input adds to this process's peak; in a process of its own."""
    image = sys.stdin.buffer.read()
    read([SAMPLE.read_bytes(), _saved(Image.new("RGBA", (40, 40)), "TIFF")])  # loads what is loaded at first use
    before = _kib("VmRSS")
    _, (outcome,) = read([image])
    if not isinstance(outcome, Reading):
        raise outcome
    print(_kib("VmHWM") - before)


def _kib(field: str) -> int:
    """Of /proc/self/status; getrusage would report the parent's peak, too."""
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0])


def _file(pixels: np.ndarray, format: str, **options: object) -> bytes:
    return _saved(Image.fromarray(pixels), format, **options)


def _saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _opencv(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def _pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


DECODERS = {"OpenCV": _opencv, "Pillow": _pillow, "the handler": decode}


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
