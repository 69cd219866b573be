"""Who is admitted, into which queue, and why anybody else is refused. No other module refuses for lack of room.

API key -> service accepts uploads -> size class -> room in that class's queue -> room for the bytes in memory

A request is small or large by its bytes, so that a queue of photos keeps no small drawing out, nor the other way
round. An image of very many pixels, by its header, or of a format whose header is not read here, is isolated: it makes
a batch of its own, so that decoding it delays no other image.
"""

import hmac
from collections.abc import Mapping, Sequence
from enum import Enum
from struct import Struct

from proxy.app import Request
from proxy.batcher import Batcher, Item
from proxy.errors import BodyTooLarge, Cause, Overloaded, Unauthorized
from proxy.health import Health
from proxy.settings import Settings


class SizeClass(Enum):
    """Which batcher an image goes to; the value is a label of the metrics."""

    SMALL = "small"
    LARGE = "large"
    ISOLATED = "isolated"


class Admission:
    """Decides about each upload.

    Attributes:
        buffered: bytes of all bodies in memory.
    """

    def __init__(self, settings: Settings, health: Health, batchers: Mapping[SizeClass, Batcher]) -> None:
        self._settings, self._health = settings, health
        self._small, self._large, self.isolated = (batchers[each] for each in SizeClass)
        self._keys = [key.encode() for key in settings.api_keys]
        self.buffered = 0

    def check(self, request: Request, length: int | None) -> None:
        """Admit an upload whose body of `length` bytes, or of unknown length, is not yet read.

        Raises:
            Unauthorized: no valid API key came with it.
            NotReady: the service starts or stops, or TorchServe is away.
            Overloaded: the queue that it would go to is full.
        """
        self.check_key(request)
        self._health.check_accepting()
        if length is not None:
            self._batcher(length).check_room()

    def check_key(self, request: Request) -> None:
        """Any one valid key opens, be it a Bearer token or X-API-Key. All are compared, each in constant time."""
        if not self._keys:
            return
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        offered = (bearer.strip() if scheme.lower() == "bearer" else "", request.headers.get("x-api-key", ""))
        if not sum([hmac.compare_digest(one.encode(), key) for one in offered for key in self._keys]):
            raise Unauthorized()

    def reserve(self, request: Request, size: int) -> None:
        """Keep `size` more bytes of the body. Raises Overloaded where other bodies leave no room for them."""
        others = self.buffered - request.buffered
        if others and self.buffered + size > self._settings.max_buffered_bytes:
            raise Overloaded(Cause.BUFFER_FULL)
        self.buffered += size
        request.buffered += size

    def release(self, request: Request) -> None:
        """The request's body is no longer in memory."""
        self.buffered -= request.buffered

    def submit(self, request: Request, items: Sequence[Item]) -> None:
        """Queue the images of a request whose body is read. Raises Overloaded, and then queues none."""
        batcher = self._batcher(request.buffered)
        groups: dict[Batcher, list[Item]] = {}
        for item in items:
            isolated = pixels(item.image) > self._settings.isolated_pixels
            groups.setdefault(self.isolated if isolated else batcher, []).append(item)
        for each, group in groups.items():
            each.check_room(len(group))
        for each, group in groups.items():
            each.submit(group)

    def check_image_size(self, image: bytes) -> BodyTooLarge | None:
        """The error of one image of a batch that is larger than a single upload may be."""
        limit = self._settings.max_body_bytes
        return BodyTooLarge(limit) if len(image) > limit else None

    def _batcher(self, size: int) -> Batcher:
        return self._small if size <= self._settings.small_request_bytes else self._large


UNKNOWN = 1 << 62  # pixels of what has no header that is read here
_PNG, _GIF, _BMP = Struct(">16xII"), Struct("<6xHH"), Struct("<18xii")
_JPEG_SEGMENT, _JPEG_FRAME = Struct(">BBH"), Struct(">5xHH")
_WEBP_LOSSY, _WEBP_LOSSLESS, _WEBP_EXTENDED = Struct("<26xHH"), Struct("<21xI"), Struct("<24xIH")
# Start-of-frame markers: C0 to CF without those of Huffman tables, arithmetic coding and extensions (ITU-T T.81, B.1).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SEGMENTS = 1000  # that may come before it; 8 MiB of empty ones would hold up all requests for a second


def pixels(image: bytes) -> int:
    """Width times height as the header says; UNKNOWN where no header of a PNG, JPEG, GIF, BMP or WebP is found.

    It takes a microsecond; Pillow's lazy `Image.open` takes 30, a third of what the whole stack spends on an upload.
    """
    try:
        if image.startswith(b"\x89PNG"):
            width, height = _PNG.unpack_from(image)
        elif image.startswith(b"\xff\xd8"):
            width, height = _jpeg_size(image)
        elif image.startswith(b"GIF8"):
            width, height = _GIF.unpack_from(image)
        elif image.startswith(b"BM"):
            width, height = _BMP.unpack_from(image)
        elif image.startswith(b"RIFF") and image[8:12] == b"WEBP":
            width, height = _webp_size(image)
        else:
            return UNKNOWN
    except Exception:  # cut off, or no frame
        return UNKNOWN
    return int(abs(width * height))


def _jpeg_size(image: bytes) -> tuple[int, int]:
    """Of the first frame, behind other segments. Raises ValueError or struct.error where it is not found."""
    at = 2
    for _ in range(_JPEG_SEGMENTS):
        prefix, marker, length = _JPEG_SEGMENT.unpack_from(image, at)
        if prefix != 0xFF or marker < 0xC0 or 0xD0 <= marker <= 0xD9:  # decoders go on elsewhere than we would
            break
        if marker in _JPEG_FRAMES:
            height, width = _JPEG_FRAME.unpack_from(image, at)
            return width, height
        at += 2 + length if marker != 0xFF else 1  # FF before a marker is padding
    raise ValueError("no frame")


def _webp_size(image: bytes) -> tuple[int, int]:
    """Of the canvas (https://developers.google.com/speed/webp/docs/riff_container)."""
    kind = image[12:16]
    if kind == b"VP8 ":
        width, height = _WEBP_LOSSY.unpack_from(image)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = _WEBP_LOSSLESS.unpack_from(image)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    low, high = _WEBP_EXTENDED.unpack_from(image)  # two numbers of 24 bits
    return (low & 0xFFFFFF) + 1, ((low >> 24) | (high << 8)) + 1
