"""Pictures that no service likes to get, made here: huge, bombs, broken, mutated, and one that kills its worker."""

import io
import os
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from serve.archive import checksum, checksum_file, rewrite
from tests.load import SAMPLES

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
POISON = b"this picture kills its worker"


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def digit(kind: str) -> bytes:
    """A sample digit as a file of this format."""
    return encoded(Image.open(SAMPLES[7]).convert("L" if kind != "WEBP" else "RGB"), kind)


def huge() -> dict[str, bytes]:
    """Just under 40 megapixels, each in few bytes."""
    side = 6300
    return {
        "1-bit PNG": encoded(Image.new("1", (side, side)), "PNG"),
        "RGBA PNG": encoded(Image.new("RGBA", (side, side)), "PNG", compress_level=9),
        "grey JPEG": encoded(Image.new("L", (side, side)), "JPEG"),
        "colour JPEG, progressive": encoded(Image.new("RGB", (side, side), "red"), "JPEG", progressive=True),
        "lossless WebP": encoded(Image.new("RGB", (side, side)), "WEBP", lossless=True, method=0),
        "GIF": encoded(Image.new("P", (side, side)), "GIF"),
        "TIFF, deflated": encoded(Image.new("L", (side, side)), "TIFF", compression="tiff_adobe_deflate"),
    }


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG of these chunks, whether they make sense or not."""
    head = _chunk(b"IHDR", struct.pack("!IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def bombs() -> dict[str, tuple[bytes, int]]:
    """Small files that claim or unpack to much, each with the status it must get."""
    zeros = zlib.compress(bytes(200_000_000), 9)
    gif = bytearray(digit("GIF"))
    gif[6:10] = struct.pack("<HH", 60_000, 60_000)
    bmp = bytearray(digit("BMP"))
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    jpeg = bytearray(digit("JPEG"))
    frame = jpeg.index(b"\xff\xc0") + 5
    jpeg[frame : frame + 4] = struct.pack("!HH", 60_000, 60_000)
    return {
        "PNG of 60,000 x 60,000": (png(60_000, 60_000, zeros[:1000]), 413),
        "PNG of 2**31-1 squared": (png(2**31 - 1, 2**31 - 1, zeros[:1000]), 413),
        "PNG of no width": (png(0, 28, zeros[:1000]), 422),
        "PNG of 28 x 28 with 200 MB inside": (png(28, 28, zeros), 200),
        "PNG with a text of 200 MB": (
            digit("PNG").replace(b"\0\0\0\0IEND", _chunk(b"zTXt", b"a\0\0" + zeros) + b"\0\0\0\0IEND"),
            200,
        ),
        "GIF of 60,000 x 60,000": (bytes(gif), 413),
        "BMP of 60,000 x 60,000": (bytes(bmp), 413),
        "JPEG of 60,000 x 60,000": (bytes(jpeg), 413),
        "TIFF of 60,000 x 60,000": (_tiff(60_000, 60_000), 413),
        "WebP of 16,383 x 16,383": (encoded(Image.new("RGB", (7, 7)), "WEBP", lossless=True)[:21] + b"\xff" * 40, 413),
    }


def _tiff(width: int, height: int) -> bytes:
    """Little-endian TIFF, one strip that is not there."""
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 100)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4) + bytes(200)


def truncated() -> Iterator[tuple[str, bytes]]:
    """Every format, cut off at many places."""
    for kind in FORMATS:
        whole = digit(kind)
        for at in range(1, len(whole) - 8, max(1, len(whole) // 24)):
            yield f"{kind} cut at {at}", whole[:at]


def mutated(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Every format with bytes changed, removed, doubled at random."""
    chance = random.Random(seed)  # noqa: S311
    for number in range(count):
        kind = FORMATS[number % len(FORMATS)]
        data = bytearray(digit(kind))
        for _ in range(chance.randrange(1, 9)):
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    data[at : at + 4] = b"\xff\xff\xff\xff"
                case 2:
                    del data[at : at + chance.randrange(1, 40)]
                case 3:
                    data[at:at] = data[at : at + chance.randrange(1, 40)]
        yield f"{kind} mutated, number {number} of seed {seed}", bytes(data)


def store_with_poison(folder: Path, original: Path) -> Path:
    """A model store whose handler ends its worker, as a decoder that crashes would, on pictures with POISON inside."""
    folder.mkdir()
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(folder / "raw", "w") as target:
        for name in source.namelist():
            text = source.read(name)
            target.writestr(name, text + _TRAP if name == "decode.py" else text)
    rewrite(folder / "raw", folder / original.name)
    checksum_file(folder / original.name).write_text(f"{checksum(folder / original.name)}  {original.name}\n")
    os.unlink(folder / "raw")
    return folder


_TRAP = (
    b"""

_decode = decode


def decode(data, max_pixels=MAX_PIXELS):
    if %r in data:
        os.kill(os.getpid(), 9)
    return _decode(data, max_pixels)
"""
    % POISON
)
