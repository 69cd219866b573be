"""Who is admitted, into which queue, and why anybody else is refused. No other module refuses for lack of room.

API key -> service accepts uploads -> size class -> room in that class's queue -> room for the bytes in memory

A request is small or large by its bytes, and a full queue of one size class refuses nothing of another. An image of
very many pixels by its header, or of a size that is not known, is isolated: it makes a batch of its own, so that
decoding it delays no other image.
"""

import hmac
from collections.abc import Mapping, Sequence
from enum import Enum
from io import BytesIO
from math import inf
from struct import Struct

import imagesize

from proxy.app import Request
from proxy.batcher import Batcher, Item
from proxy.errors import Cause, Overloaded, Unauthorized
from proxy.health import Health
from proxy.settings import Settings

PNG_SIZE = Struct(">16xII")
HEADER_BYTES = 64 * 1024  # searched for an image's size
IMAGES = (b"\x89PNG", b"\xff\xd8", b"RIFF", b"GIF8", b"BM", b"II", b"MM")  # PNG, JPEG, WebP, GIF, BMP, TIFF
HEADERS_READ = (b"GIF8", b"BM", b"RIFF")  # by imagesize at once
JPEG_MARKERS = 1000  # most FF bytes in the start of a JPEG: each may begin a segment, and segments take time


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

    def check(self, length: int | None) -> None:
        """Admit an upload before its body is read; `length` is None where it is unknown.

        Raises:
            NotReady: the service starts or stops, or TorchServe is away.
            Overloaded: the queue that it would go to is full.
        """
        self._health.check_accepting()
        if length is not None:
            self._batcher(length).check_room()

    def check_key(self, request: Request) -> None:
        """Raise Unauthorized where no valid API key came, as a Bearer token or as X-API-Key; any one opens.

        All are compared, each in constant time.
        """
        if not self._keys:
            return
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        offered = (bearer.strip() if scheme.lower() == "bearer" else "", request.headers.get("x-api-key", ""))
        if not sum([hmac.compare_digest(one.encode(), key) for one in offered for key in self._keys]):
            raise Unauthorized()

    def reserve(self, request: Request, size: int) -> None:
        """Count `size` more bytes as in memory. Raises Overloaded where other bodies leave no room for them."""
        of_others = self.buffered - request.buffered
        if of_others and self.buffered + size > self._settings.max_buffered_bytes:
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

    def _batcher(self, size: int) -> Batcher:
        return self._small if size <= self._settings.small_request_bytes else self._large


def pixels(image: bytes) -> float:
    """Width times height by the image's header: 0 for what is no image, infinite for a TIFF or where none is found."""
    start = image[:HEADER_BYTES]
    if not start.startswith(IMAGES):
        return 0  # the handler refuses it by its first bytes
    if start.startswith(b"\x89PNG") and len(start) >= PNG_SIZE.size:  # nearly every upload: 5 microseconds less
        width, height = PNG_SIZE.unpack_from(start)
    elif start.startswith(HEADERS_READ) or (start.startswith(b"\xff\xd8") and start.count(b"\xff") <= JPEG_MARKERS):
        width, height = imagesize.get(BytesIO(start), exif_rotation=False)
    else:
        return inf
    return width * height if width > 0 and height > 0 else inf
