"""From a request's body to the bytes of its pictures: type, size, time and form are checked; no picture is looked into.

What can be refused unread is refused unread, and nothing over a limit is ever kept.
"""

import re
from collections.abc import Callable

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from proxy import errors
from proxy.request import Request

Hold = Callable[[Request, int], None]
PARTS = 1024  # most parts of any kind in one body

# The form that browsers, curl and most libraries make of pictures. The parser would take an eighth of the proxy's time
# for one, a tenth of a batch's whole time (docs/performance.md); every other form is the parser's, and what it says of
# this one is the same.
_COMMON = re.compile(r"multipart/form-data; ?boundary=([\w'()+,.:=?/-]{1,70})", re.ASCII)
_PART = re.compile(
    rb'\r\n(?i:Content-Disposition): form-data; name="image"; filename="[ !#-\[\]-~]{0,255}"\r\n'
    rb"((?i:Content-Type): [!-~][ -~]{0,255}\r\n)?\r\n"
)


def announced(request: Request, limit: int) -> int:
    """Bytes the body may have: its Content-Length, or `limit` where it has none.

    Raises:
        BodyTooLarge: it says that it is larger than `limit`.
        UnsupportedMediaType: it is encoded, or neither multipart/form-data nor an image.
    """
    kind = request.headers.get("content-type", "").lower()
    known = kind.startswith(("multipart/form-data", "image/")) and kind.isascii()
    if not known or "content-encoding" in request.headers:
        raise errors.UnsupportedMediaType()
    length = int(request.headers.get("content-length", limit))
    if length > limit:
        raise errors.BodyTooLarge(limit)
    return length


async def read(request: Request, limit: int, seconds: float, hold: Hold) -> bytes:
    """The whole body.

    Args:
        hold: told of bytes before they are kept; may refuse them. They are held as they arrive, not as they are
            announced, or a few slow clients that announce much would keep everybody out.

    Raises:
        BodyTooLarge: it grew over `limit` bytes; nothing further was read.
        ClientTooSlow: it did not arrive within `seconds`.
        MalformedMultipart: it ended early.
    """
    request.exchange.due = request.received + seconds
    body = bytearray()
    try:
        while not request.exchange.ended:
            piece = await request.exchange.piece()
            if len(body) + len(piece) > limit:
                raise errors.BodyTooLarge(limit)
            hold(request, len(piece))
            body += piece
    except TimeoutError:
        raise errors.ClientTooSlow() from None
    except EOFError:
        raise errors.MalformedMultipart("The body ended before it was complete; send it again.") from None
    return bytes(body)


def images(request: Request, body: bytes, most: int) -> list[bytes]:
    """The pictures in the body, at most `most`; at least one.

    Raises:
        MalformedMultipart, MissingImage, SeveralImages, TooManyImages
    """
    content_type = request.headers.get("content-type", "")
    found = _common(content_type, body)
    if found is None:
        kind, options = parse_options_header(content_type)
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


def _common(content_type: str, body: bytes) -> list[bytes] | None:
    """The pictures in a body of the common form, else None."""
    told = _COMMON.fullmatch(content_type)
    if not told or not body.startswith(b"--" + told[1].encode()):
        return None
    found, line, at = list[bytes](), b"\r\n--" + told[1].encode(), len(told[1]) + 2
    while (part := _PART.match(body, at)) and (end := body.find(line, part.end())) >= 0 and len(found) < PARTS:
        found.append(body[part.end() : end])
        at = end + len(line)
    return found if found and body[at:] == b"--\r\n" else None


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
