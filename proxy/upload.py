"""From a request's body to the bytes of its pictures: type, size, time and form are checked; no picture is looked into.

What can be refused unread is refused unread, and nothing over a limit is ever kept.
"""

import asyncio
import re

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from proxy import errors
from proxy.request import Request

PARTS = 1024  # most parts of any kind in one body
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046, 5.1.1


def announced(request: Request, limit: int) -> int:
    """Bytes the body may have: its Content-Length, or `limit` where it has none.

    Raises:
        BodyTooLarge: it says that it is larger than `limit`.
        UnsupportedMediaType: it is encoded, or neither multipart/form-data nor an image.
    """
    headers = request.headers
    if "content-encoding" in headers or not headers.get("content-type", "").lower().startswith(
        ("multipart/form-data", "image/")
    ):
        raise errors.UnsupportedMediaType()
    length = int(headers.get("content-length", limit))
    if length > limit:
        raise errors.BodyTooLarge(limit)
    return length


async def read(request: Request, limit: int, seconds: float) -> bytes:
    """The whole body.

    Raises:
        BodyTooLarge: it grew over `limit` bytes; nothing further was read.
        ClientTooSlow: it did not arrive within `seconds`.
    """
    try:
        async with asyncio.timeout(seconds):
            if "content-length" in request.headers:  # the server sees to it that no more arrives than was announced
                body: bytes = await request.protocol()
            else:
                body = await _read_unannounced(request, limit)
    except TimeoutError:
        raise errors.ClientTooSlow() from None
    request.size = len(body)
    return body


async def _read_unannounced(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.protocol:
        body += chunk
        if len(body) > limit:
            raise errors.BodyTooLarge(limit)
    return bytes(body)


def images(request: Request, body: bytes, most: int) -> list[bytes]:
    """The pictures in the body, at most `most`; at least one.

    Raises:
        MalformedMultipart, MissingImage, SeveralImages, TooManyImages
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != "multipart/form-data":
        return [body]
    boundary = options.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise errors.MalformedMultipart()
    try:
        found = _parse(body, boundary, most)
    except (MultipartError, UnicodeError) as error:
        raise errors.MalformedMultipart() from error
    if not found:
        raise errors.MissingImage()
    return found


def _parse(body: bytes, boundary: str, most: int) -> list[bytes]:
    found: list[bytes] = []
    chunks: list[bytes] | None = None  # of the picture being read; None in any other part
    with PushMultipartParser(boundary, len(body), max_segment_count=PARTS, strict=True) as parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                chunks = [] if event.name == "image" and _is_file(event) else None
                if chunks is not None and len(found) == most:
                    raise errors.SeveralImages() if most == 1 else errors.TooManyImages(most)
            elif event is None:  # the part is complete
                if chunks is not None:
                    found.append(b"".join(chunks))
            elif chunks is not None:
                chunks.append(event)
    return found


def _is_file(part: MultipartSegment) -> bool:
    return part.filename is not None or "filename*" in part.header("Content-Disposition", "")
