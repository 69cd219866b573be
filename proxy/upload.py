"""From a request's body to the bytes of its pictures: type, size, time and form are checked; no picture is looked into.

What can be refused unread is refused unread, and nothing over a limit is ever kept.
"""

import asyncio
from collections.abc import Callable
from math import inf

from granian.rsgi import ProtocolClosed
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from proxy import errors
from proxy.request import Request

Hold = Callable[[Request, int], None]
AT_ONCE = 64 * 1024  # a body of at most so many bytes is read in one piece
PARTS = 1024  # most parts of any kind in one body


def announced(request: Request, limit: int) -> int:
    """Bytes the body may have: its Content-Length, or `limit` where it has none.

    Raises:
        BodyTooLarge: it says that it is larger than `limit`.
        UnsupportedMediaType: it is encoded, or neither multipart/form-data nor an image.
    """
    if "content-encoding" in request.headers or not request.headers.get("content-type", "").lower().startswith(
        ("multipart/form-data", "image/")
    ):
        raise errors.UnsupportedMediaType()
    length = int(request.headers.get("content-length", limit))
    if length > limit:
        raise errors.BodyTooLarge(limit)
    return length


async def read(request: Request, limit: int, seconds: float, hold: Hold) -> bytes:
    """The whole body.

    Args:
        hold: told of bytes before they are kept; may refuse them. A larger body's are held as they arrive, not as
            they are announced, or a few slow clients that announce much would keep everybody out.

    Raises:
        BodyTooLarge: it grew over `limit` bytes; nothing further was read.
        ClientTooSlow: it did not arrive within `seconds`.
        MalformedMultipart: it ended early.
    """
    request.due = request.received + seconds
    try:
        if limit <= AT_ONCE and "content-length" in request.headers:  # more than announced the server cuts off
            hold(request, limit)
            body: bytes = await request.protocol()
        else:
            body = await _in_pieces(request, limit, hold)
    except asyncio.CancelledError:
        if request.late:
            raise errors.ClientTooSlow() from None
        raise
    except ProtocolClosed:
        raise errors.MalformedMultipart("The body ended before it was complete; send it again.") from None
    request.due, request.unread = inf, 0
    return body


async def _in_pieces(request: Request, limit: int, hold: Hold) -> bytes:
    body = bytearray()
    while piece := await request.piece():
        if len(body) + len(piece) > limit:
            raise errors.BodyTooLarge(limit)
        hold(request, len(piece))
        body += piece
    if len(body) < int(request.headers.get("content-length", 0)):
        raise ProtocolClosed
    return bytes(body)


def images(request: Request, body: bytes, most: int) -> list[bytes]:
    """The pictures in the body, at most `most`; at least one.

    Raises:
        MalformedMultipart, MissingImage, SeveralImages, TooManyImages
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != "multipart/form-data":
        return [body]
    try:
        found = _parse(body, options.get("boundary", ""))
    except (MultipartError, UnicodeError) as error:
        raise errors.MalformedMultipart() from error.with_traceback(None)  # its frames hold it, and the body
    if not found:
        raise errors.MissingImage()
    if len(found) > most:
        raise errors.SeveralImages() if most == 1 else errors.TooManyImages(most)
    return found


def _parse(body: bytes, boundary: str) -> list[bytes]:
    found: list[list[bytes]] = []  # the pictures, each in chunks
    with PushMultipartParser(boundary, len(body), max_segment_count=PARTS, strict=True) as parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                chunks: list[bytes] = []
                is_file = event.filename is not None or "filename*" in event.header("Content-Disposition")
                if is_file and event.name == "image":
                    found.append(chunks)
            elif event is not None:
                chunks.append(event)
    return [b"".join(chunks) for chunks in found]
