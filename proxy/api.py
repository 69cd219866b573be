"""POST /api/mnist and POST /api/mnist/batch: images in, for each its prediction or its error out.

admission -> body -> images -> batchers -> replies; an image whose batch failed is tried again in a batch of its own
"""

import asyncio
import json
from collections.abc import Sequence
from time import monotonic
from urllib.parse import parse_qsl

from proxy import upload
from proxy.admission import Admission
from proxy.app import Request, Response
from proxy.batcher import Item, Result
from proxy.errors import BadParameter, ImageError, ModelServerError, Refusal, ServiceError
from proxy.settings import Settings
from proxy.torchserve import DETAILS

RETRY_PAUSES = (0.0, 0.2, 0.4)  # seconds before each further attempt of an image whose batch failed
_DETAILS = {"": DETAILS, "1": DETAILS, "true": DETAILS, "yes": DETAILS, "0": 0, "false": 0, "no": 0}


class Api:
    """The two endpoints."""

    def __init__(self, settings: Settings, admission: Admission) -> None:
        self._settings, self._admission = settings, admission
        self._reader = upload.Reader(settings.body_idle_seconds, settings.body_bytes_per_second)

    async def predict(self, request: Request) -> Response:
        """POST /api/mnist"""
        flags = details_flag(request.query)
        try:
            images = await self._images(request, self._settings.max_body_bytes, most=1)
            [result] = await self._predict(request, images, flags)
        finally:
            self._admission.release(request)
        return Response(200, _body(result))

    async def predict_batch(self, request: Request) -> Response:
        """POST /api/mnist/batch"""
        flags = details_flag(request.query)
        try:
            images = await self._images(request, self._settings.max_batch_bytes, self._settings.max_batch_images)
            too_large = [self._admission.check_image_size(image) for image in images]
            fitting = [image for image, error in zip(images, too_large, strict=True) if not error]
            results = iter(await self._predict(request, fitting, flags))
        finally:
            self._admission.release(request)
        found = [error or next(results) for error in too_large]
        if isinstance(found[0], Refusal) and all(isinstance(result, Refusal) for result in found):
            raise found[0]
        bodies = [_body_or_error(result, request.id) for result in found]
        return Response(200, b'{"results": [' + b", ".join(bodies) + b'], "success": true}')

    async def _images(self, request: Request, limit: int, most: int) -> list[bytes]:
        length = upload.check_headers(request, limit)
        self._admission.check(request, length)
        body = await self._reader.read(request, length, limit, self._admission.reserve)
        return upload.images(request, body, most)

    async def _predict(self, request: Request, images: Sequence[bytes], flags: int) -> list[Result]:
        """A result for each image, in order. Raises Overloaded."""
        deadline = monotonic() + self._settings.deadline_seconds
        request.items = [Item(image, flags, deadline, request.traceparent) for image in images]
        self._admission.submit(request, request.items)
        try:
            results = [await item.result for item in request.items]
        except asyncio.CancelledError:
            for item in request.items:
                item.batcher.cancel(item)
            raise
        failed = [index for index, result in enumerate(results) if isinstance(result, ModelServerError)]
        if failed:
            retried = await asyncio.gather(*(self._retry(request, request.items[index]) for index in failed))
            for index, result in zip(failed, retried, strict=True):
                results[index] = result
        return results

    async def _retry(self, request: Request, item: Item) -> Result:
        """Isolated, so that an image that kills workers takes no other with it."""
        batcher, result = self._admission.isolated, item.result.result()
        for pause in RETRY_PAUSES:
            await asyncio.sleep(pause)
            again = Item(item.image, item.flags, item.deadline, item.traceparent)
            request.items.append(again)
            try:
                batcher.submit([again])
                result = await again.result
            except asyncio.CancelledError:
                batcher.cancel(again)
                raise
            except ServiceError as error:
                return error
            if not isinstance(result, ModelServerError):
                break
        return result


def details_flag(query: str) -> int:
    """The wire format's flag for `details` in a query string. Raises BadParameter for a value that means nothing."""
    if "details" not in query:
        return 0
    values = [value.lower() for name, value in parse_qsl(query, keep_blank_values=True) if name == "details"]
    if not values:
        return 0
    if values[-1] not in _DETAILS:
        raise BadParameter()
    return _DETAILS[values[-1]]


def _body(result: Result) -> bytes:
    """The body for an image that was read; raises what is wrong with any other."""
    if isinstance(result, ServiceError):
        raise result
    if result.status == 200:
        return result.body
    try:
        raise ImageError(result.status, **json.loads(result.body))
    except (ValueError, TypeError) as error:
        raise ModelServerError() from error


def _body_or_error(result: Result, request_id: str) -> bytes:
    try:
        return _body(result)
    except ServiceError as error:
        return error.with_traceback(None).body(request_id)
