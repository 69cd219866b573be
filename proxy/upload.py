"""A request's body -> the bytes of its images.

headers are checked -> the body is read, within a size and a rate -> the multipart library takes it apart

What can be refused unread is refused unread, and nothing over a limit is kept. No image is decoded here.
"""

from collections.abc import Callable
from math import inf
from time import monotonic

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from proxy import errors
from proxy.app import Request, State

Reserve = Callable[[Request, int], None]
INCOMPLETE = "The body ended before it was complete; send it again."
MAX_PARTS = 1024  # of any kind in one body
AT_ONCE = 64 * 1024  # bytes; a body of at most so many is read in one piece, which costs less than piece by piece


def check_headers(request: Request, limit: int) -> int | None:
    """The body's Content-Length, None where it has none.

    Raises:
        BodyTooLarge: it is larger than `limit` bytes.
        UnsupportedMediaType: the body is encoded, or neither multipart/form-data nor an image.
    """
    content_type = request.headers.get("content-type", "").lower()
    if not content_type.startswith(("multipart/form-data", "image/")) or "content-encoding" in request.headers:
        raise errors.UnsupportedMediaType()
    length = request.headers.get("content-length")
    if length is None:
        return None
    if int(length) > limit:
        raise errors.BodyTooLarge(limit)
    return int(length)


class Reader:
    """Reads bodies.

    Args:
        idle_seconds: a body of which nothing arrives for so long has stalled.
        least_rate: bytes a second that a body must arrive with on average, once `idle_seconds` have passed.
    """

    def __init__(self, idle_seconds: float, least_rate: float) -> None:
        self._idle_seconds, self._least_rate = idle_seconds, least_rate

    async def read(self, request: Request, length: int | None, limit: int, reserve: Reserve) -> bytes:
        """The whole body, of `length` bytes, or of at most `limit` where that is None.

        Args:
            reserve: called before bytes are kept; may raise. A large body is reserved as it arrives and not as it is
                announced, or a few slow clients that announce much would keep everybody out.

        Raises:
            BodyTooLarge: it grew over `limit` bytes; nothing further was read.
            MalformedMultipart: it ended early.
        """
        if length is not None and length <= AT_ONCE:
            reserve(request, length)
            request.body_due = request.received + self._idle_seconds + length / self._least_rate
            try:
                body: bytes = await request.protocol()
            except RuntimeError as error:  # Granian's, where the client closed the connection
                raise errors.MalformedMultipart(INCOMPLETE) from error
        else:
            body = await self._read_pieces(request, length, limit, reserve)
        request.body_due, request.state = inf, State.PREDICTING
        return body

    async def _read_pieces(self, request: Request, length: int | None, limit: int, reserve: Reserve) -> bytes:
        body = bytearray()
        self._expect(request, 0)
        async for piece in request.protocol:
            if len(body) + len(piece) > limit:
                raise errors.BodyTooLarge(limit)
            reserve(request, len(piece))
            body += piece
            self._expect(request, len(body))
        if length is not None and len(body) < length:
            raise errors.MalformedMultipart(INCOMPLETE)
        return bytes(body)

    def _expect(self, request: Request, size: int) -> None:
        """More must arrive within the idle time, and `size` bytes must not have taken longer than the least rate."""
        earliest = request.received + self._idle_seconds + size / self._least_rate
        request.body_due = min(earliest, monotonic() + self._idle_seconds) if size else earliest


def images(request: Request, body: bytes, most: int) -> list[bytes]:
    """The images in the body: at least one, at most `most`.

    Raises:
        MalformedMultipart, MissingImage, SeveralImages, TooManyImages
    """
    content_type, options = parse_options_header(request.headers.get("content-type", ""))
    if content_type != "multipart/form-data":
        return [body]
    if not options.get("boundary"):
        raise errors.MalformedMultipart(
            "The Content-Type has no boundary; do not set that header yourself, the HTTP client adds it with the form."
        )
    try:
        found, names = _parse(body, options["boundary"])
    except (MultipartError, UnicodeError) as error:
        raise errors.MalformedMultipart() from error.with_traceback(None)  # its frames hold the body
    if not found:
        raise errors.MissingImage(names)
    if len(found) > most:
        raise errors.SeveralImages() if most == 1 else errors.TooManyImages(most)
    return found


def _parse(body: bytes, boundary: str) -> tuple[list[bytes], list[str]]:
    """The image parts, and the names of the others. Latin-1 decodes whatever bytes a file name has; it is not used."""
    found, names, wanted = list[bytes](), list[str](), False
    with PushMultipartParser(boundary, len(body), header_charset="latin-1", max_segment_count=MAX_PARTS) as parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                wanted = event.name == "image" and _is_file(event)
                if wanted:
                    found.append(b"")
                else:
                    names.append(_shown(event))
            elif event and wanted:
                found[-1] += event
    return found, names


def _is_file(part: MultipartSegment) -> bool:
    """By RFC 7578 a file name is optional; a content type that is not text says file as well."""
    if part.filename is not None or "filename*" in part.header("Content-Disposition"):
        return True
    return part.content_type is not None and not part.content_type.startswith("text/")


def _shown(part: MultipartSegment) -> str:
    """A part's name for an error message."""
    name = (part.name or "").encode("latin-1").decode("utf-8", "replace")
    return f"`{name[:40]}`" if _is_file(part) else f"`{name[:40]}`, which is text"
