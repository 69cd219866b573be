"""What headers of files say, read without decoding anything. Nonsense raises ValueError, IndexError or struct.error."""

import re
from struct import Struct, calcsize, unpack_from
from typing import NamedTuple
from zlib import crc32

_CHUNK = Struct("!I4s")


class CutOff(ValueError):
    """The file ends before its picture does."""


def png_chunks(data: bytes) -> list[bytes]:
    """Types of a PNG's chunks that are there as a whole, up to IEND."""
    kinds, at = [b""], 8
    while at + 12 <= len(data) and kinds[-1] != b"IEND":
        length, kind = _CHUNK.unpack_from(data, at)
        at += 12 + length
        if at <= len(data):
            kinds.append(kind)
    return kinds[1:]


def png_is_sound(data: bytes) -> bool:
    """Whether each chunk up to IEND has the checksum that it tells (PNG specification, 5.5)."""
    kind, at = b"", 8
    while kind != b"IEND":
        length, kind = _CHUNK.unpack_from(data, at)
        end = at + 8 + length
        if crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        at = end + 4
    return True


class Jpeg(NamedTuple):
    """What a JPEG's markers say.

    width, height: in pixels; components: 1 for grey, 3 for colour, 4 for CMYK; scans: passes over the picture.
    end: number of bytes up to its end marker (EOI) and with it. What follows, as a phone's film does, is none of it.
    """

    width: int
    height: int
    components: int
    scans: int
    end: int


def jpeg_header(data: bytes) -> Jpeg:
    """Walk the markers, which ITU-T T.81 lays out in annex B. Raises CutOff where the end marker is missing."""
    width = height = components = scans = 0
    at = 2
    for _ in range(MAX_SEGMENTS):
        if (found := _MARKER.search(data, at)) is None:
            raise CutOff
        marker, at = data[found.start() + 1], found.end()
        if marker < _FIRST_MARKER:  # decoders that look for a restart marker skip it, and nothing that follows
            continue
        if marker == _EOI:
            return Jpeg(width, height, components, scans, at)
        if marker in _FRAMES and not components and at + 8 <= len(data):  # decoders go by the first
            height, width, components = _FRAME.unpack_from(data, at + 3)
        scans += marker == _SOS
        at += int.from_bytes(data[at : at + 2], "big")
    raise ValueError("more segments than any encoder writes")


MAX_SEGMENTS = 5000  # of a JPEG; encoders write dozens, and each costs time
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # but for those without a length; 0xFF00 is a pixel's byte
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15
_FIRST_MARKER, _SOS, _EOI = 0xC0, 0xDA, 0xD9
_FRAME = Struct("!HHB")


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of the whole canvas."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind != b"VP8 ":  # libwebp would take what follows for pixels without a header of ours
        raise ValueError("an unknown kind of WebP")
    width, height = unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def tiff_most_values(data: bytes) -> int:
    """The most numbers that a tag of the first directory has, or of its EXIF or GPS directory (TIFF 6.0, section 2).

    Text and bytes do not count. Each other value becomes an object in Pillow: a strip, a tile or a number.
    """
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    big = unpack_from(f"{order}H", data, 2) == (43,)  # BigTIFF
    pointer, number, entry = (
        (f"{order}Q", f"{order}Q", f"{order}HHQQ") if big else (f"{order}I", f"{order}H", f"{order}HHII")
    )
    most, directories = 0, [unpack_from(pointer, data, 8 if big else 4)[0]]
    for at in directories:
        (count,) = unpack_from(number, data, at)
        begin, entries = at + calcsize(number), Struct(entry)
        for tag, kind, values, value in entries.iter_unpack(data[begin : begin + count * entries.size]):
            if tag in _DIRECTORIES and len(directories) < 3:
                directories.append(value)
            if kind not in _BYTES:
                most = max(most, values)
    return most


_DIRECTORIES = (34665, 34853)  # tags that point to the EXIF and the GPS directory
_BYTES = (1, 2, 6, 7)  # types: BYTE, ASCII, SBYTE, UNDEFINED
