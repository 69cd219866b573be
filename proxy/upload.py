"""POST /api/mnist and POST /api/mnist/batch: images in, for each its prediction or its error out.

admission -> body, within a size and a rate -> its images, by the multipart library -> batchers -> replies

What can be refused unread is refused unread. Nothing over a limit is kept, and no image is decoded here.
"""

import asyncio
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic
from urllib.parse import parse_qsl

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from proxy import errors
from proxy.admission import Admission
from proxy.app import Request, Response, State, too_many
from proxy.batcher import Item, Result
from proxy.errors import ModelServerError, Refusal, ServiceError
from proxy.settings import Settings
from proxy.torchserve import DETAILS

READ_WHOLE = 8 * 1024  # bytes; a body of at most so many is read in one piece, which costs less than piece by piece
RETRY_PAUSES = (0.0, 0.2, 0.4)  # seconds before each further attempt of an image whose batch failed
INCOMPLETE = "The body ended before it was complete; send it again."
MANY_PIECES = "The body came in too many small pieces; send it in larger ones."
LARGE_HEADERS = "The headers of the form's parts are too large; send shorter ones."
MAX_PARTS = 1024  # in one body, beside its images
HEADER_BYTES = 256  # times the parts that there may be: most for all headers, whose folded lines take 0.4 s a megabyte
_DETAILS = {"1": DETAILS, "true": DETAILS, "yes": DETAILS, "0": 0, "false": 0, "no": 0}


class Endpoints:
    """What answers uploads."""

    def __init__(self, settings: Settings, admission: Admission) -> None:
        self._settings, self._admission = settings, admission
        self._reader = Reader(settings, admission.reserve)

    async def predict(self, request: Request) -> Response:
        """POST /api/mnist"""
        [result] = await self._results(request, self._settings.max_body_bytes, max_images=1)
        if isinstance(result, ServiceError):
            raise result
        return Response(200, result)

    async def predict_batch(self, request: Request) -> Response:
        """POST /api/mnist/batch"""
        results = await self._results(request, self._settings.max_batch_bytes, self._settings.max_batch_images)
        if isinstance(results[0], Refusal) and all(isinstance(result, Refusal) for result in results):
            raise results[0]
        bodies = [result if isinstance(result, bytes) else result.body(request.id) for result in results]
        return Response(200, b'{"results": [' + b", ".join(bodies) + b'], "success": true}')

    async def _results(self, request: Request, max_bytes: int, max_images: int) -> list[Result]:
        """The result for each image, in order."""
        self._admission.check_key(request)
        flags = details_flag(request.query)
        length = check_headers(request, max_bytes)
        self._admission.check(length)
        largest = self._settings.max_body_bytes
        try:
            found = images(request, await self._reader.read(request, length, max_bytes), max_images)
            predicted = iter(await self._predict(request, [each for each in found if len(each) <= largest], flags))
        finally:
            self._admission.release(request)
        return [next(predicted) if len(each) <= largest else errors.BodyTooLarge(largest) for each in found]

    async def _predict(self, request: Request, encoded: Sequence[bytes], flags: int) -> list[Result]:
        deadline = monotonic() + self._settings.deadline_seconds
        items = [Item(image, flags, deadline) for image in encoded]
        self._admission.submit(request, items)
        request.items = items
        try:
            results = [await item.result for item in items]
        finally:  # where the client has left, nobody waits for the others
            for item in items:
                item.result.cancel()
        if any(isinstance(result, ModelServerError) for result in results):
            return await asyncio.gather(*map(self._retried, items, results))
        return results

    async def _retried(self, item: Item, result: Result) -> Result:
        """The result of further attempts where the batch failed: isolated, in case this image kills the workers."""
        for pause in RETRY_PAUSES:
            if not isinstance(result, ModelServerError):
                break
            await asyncio.sleep(pause)
            try:
                self._admission.isolated.submit([item])
            except Refusal as error:
                return error
            result = await item.result
        return result


def details_flag(query: str) -> int:
    """The wire format's flag for `details` in a query string. Raises BadParameter for a value that means nothing."""
    if "details" not in query:
        return 0
    values = [value.lower() for name, value in parse_qsl(query, keep_blank_values=True) if name == "details"]
    flag = _DETAILS.get(values[-1]) if values else 0
    if flag is None:
        raise errors.BadParameter()
    return flag


def check_headers(request: Request, limit: int) -> int | None:
    """The body's Content-Length, None where it has none.

    Raises:
        BodyTooLarge: it is larger than `limit` bytes.
        UnsupportedMediaType: the body is encoded, or neither multipart/form-data nor an image.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    known = content_type == "multipart/form-data" or content_type.startswith("image/")
    if not known or "content-encoding" in request.headers:
        raise errors.UnsupportedMediaType()
    announced = request.headers.get("content-length")
    length = None if announced is None else int(announced)
    if length and length > limit:
        raise errors.BodyTooLarge(limit)
    return length


class Reader:
    """Reads bodies. `reserve(request, n)` is called when n bytes have arrived; it may raise Overloaded.

    Memory is reserved for what has arrived and not for what was announced, or slow clients that announce much would
    keep everybody out.
    """

    def __init__(self, settings: Settings, reserve: Callable[[Request, int], None]) -> None:
        self._idle_seconds, self._least_rate = settings.body_idle_seconds, settings.body_bytes_per_second
        self._reserve = reserve

    async def read(self, request: Request, length: int | None, limit: int) -> bytes:
        """The whole body, of `length` bytes, or of at most `limit` where that is None.

        Raises:
            BodyTooLarge: it grew over `limit` bytes; nothing further was read.
            MalformedMultipart: it ended early, or came in very many small pieces.
        """
        if length is not None and length <= READ_WHOLE:
            request.body_due = self._due(request, length)
            try:
                body: bytes = await request.protocol()
            except RuntimeError as error:  # Granian's, where the client closed the connection
                raise errors.MalformedMultipart(INCOMPLETE) from error
            self._reserve(request, length)
        else:
            body = await self._read_pieces(request, length, limit)
        request.body_due, request.body_read, request.state = inf, monotonic(), State.PREDICTING
        return body

    async def _read_pieces(self, request: Request, length: int | None, limit: int) -> bytes:
        body, pieces = bytearray(), 0
        request.body_due = self._due(request, 0)
        async for piece in request.protocol:
            if len(body) + len(piece) > limit:
                raise errors.BodyTooLarge(limit)
            self._reserve(request, len(piece))
            body += piece
            pieces += 1
            if too_many(pieces, len(body)):
                raise errors.MalformedMultipart(MANY_PIECES)
            request.body_due = min(self._due(request, len(body)), monotonic() + self._idle_seconds)
        if length is not None and len(body) < length:
            raise errors.MalformedMultipart(INCOMPLETE)
        return bytes(body)

    def _due(self, request: Request, size: int) -> float:
        """When `size` bytes must be there: they may take no longer than the idle time and the least rate allow."""
        return request.received + self._idle_seconds + size / self._least_rate


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
        found, names = _parse(body, options["boundary"], most)
    except (MultipartError, UnicodeError) as error:
        raise errors.MalformedMultipart() from error.with_traceback(None)  # its frames hold the body
    if not found:
        raise errors.MissingImage(names)
    return found


def _parse(body: bytes, boundary: str, most: int) -> tuple[list[bytes], list[str]]:
    """The image parts, and the names of the others. Latin-1 decodes whatever bytes a file name has; it is not used."""
    found, names, wanted, header_bytes = list[bytes](), list[str](), False, 0
    parts = most + MAX_PARTS
    with PushMultipartParser(boundary, len(body), header_charset="latin-1", max_segment_count=parts) as parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                header_bytes += sum(len(value) for _, value in event.headerlist)
                if header_bytes > HEADER_BYTES * parts:
                    raise errors.MalformedMultipart(LARGE_HEADERS)
                wanted = event.name == "image" and _is_file(event)
                if not wanted:
                    names.append(_shown(event))
                elif len(found) < most:
                    found.append(b"")
                else:
                    raise errors.SeveralImages() if most == 1 else errors.TooManyImages(most)
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
