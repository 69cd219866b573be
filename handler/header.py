"""What headers of files say, read without decoding anything. Nonsense raises ValueError, IndexError or struct.error."""

from struct import Struct, unpack_from

_CHUNK = Struct("!I4s")


def png_chunks(data: bytes) -> list[bytes]:
    """Types of a PNG's chunks that are there as a whole, up to IEND."""
    kinds, at = [b""], 8
    while at + 12 <= len(data) and kinds[-1] != b"IEND":
        length, kind = _CHUNK.unpack_from(data, at)
        at += 12 + length
        if at <= len(data):
            kinds.append(kind)
    return kinds[1:]


def jpeg_header(data: bytes) -> tuple[int, int, int]:
    """Width, height in pixels and components, as the frame header (SOF) says."""
    at = 2
    while True:
        while data[at] == 0xFF and data[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker, length = unpack_from("!HH", data, at)
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width, components = unpack_from("!HHB", data, at + 5)
            return width, height, components
        if marker < 0xFFC0 or marker == 0xFFDA:
            raise ValueError("no frame header before the first scan")
        at += 2 + length


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of the whole canvas."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF
