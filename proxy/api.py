"""The endpoints: one picture, many pictures, and the two questions an orchestrator asks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from proxy import trip, upload
from proxy.errors import BodyTooLarge, ModelServerError, NotReady, Overloaded, PictureError, Refusal, ServiceError
from proxy.predictor import Predictor, Result
from proxy.readiness import Readiness
from proxy.request import Request, Response
from proxy.settings import MIB, Settings


class Api:
    """POST /api/mnist, POST /api/mnist/batch, GET /livez, GET /readyz.

    Attributes:
        held: bytes of all uploads that are being read or answered at this moment.
    """

    def __init__(self, settings: Settings, predictor: Predictor, readiness: Readiness) -> None:
        self._settings, self._predictor, self._readiness = settings, predictor, readiness
        self.held = 0

    async def mnist(self, request: Request) -> Response:
        """One picture: its prediction, or its error."""
        with self._admitted(request, self._settings.max_body_bytes) as limit:
            body = await upload.read(request, limit, self._settings.body_seconds)
            images = upload.images(request, body, most=1)
            [result] = await self._predictor.predict(images, _flag(request), request.uploads)
        return Response(200, _prediction(result))

    async def batch(self, request: Request) -> Response:
        """Many pictures: a prediction or an error for each, in order."""
        settings = self._settings
        with self._admitted(request, settings.max_batch_bytes) as limit:
            body = await upload.read(request, limit, settings.body_seconds)
            images = upload.images(request, body, settings.max_batch_images)
            allowed = [image for image in images if len(image) <= settings.max_body_bytes]
            answers = iter(await self._predictor.predict(allowed, _flag(request), request.uploads))
        too_large = BodyTooLarge(
            f"This picture is larger than {settings.max_body_bytes / MIB:g} MiB; send a smaller one."
        )
        results = [next(answers) if len(image) <= settings.max_body_bytes else too_large for image in images]
        if isinstance(results[0], Refusal) and all(isinstance(result, Refusal) for result in results):
            raise results[0]
        bodies = [_prediction_or_error(result, request.id) for result in results]
        return Response(200, b'{"results": [' + b", ".join(bodies) + b'], "success": true}')

    async def livez(self, request: Request) -> Response:
        """The process lives."""
        return Response(200, b'{"live": true}')

    async def readyz(self, request: Request) -> Response:
        """A real inference has worked lately."""
        if not self._readiness.ready:
            raise NotReady()
        return Response(200, b'{"ready": true}')

    @contextmanager
    def _admitted(self, request: Request, most: int) -> Iterator[int]:
        """Hold room for the upload's bytes; gives how many they may be."""
        self._readiness.admit()
        size = upload.announced(request, most)
        if self.held + size > self._settings.max_held_bytes and self.held:
            raise Overloaded()
        self.held += size
        try:
            yield size
        finally:
            self.held -= size


def _flag(request: Request) -> int:
    return trip.DETAILS if request.wants("details") else 0


def _prediction(result: Result) -> bytes:
    if isinstance(result, ServiceError):
        raise result
    if result.status != 200:
        raise _picture_error(result)
    return result.body


def _prediction_or_error(result: Result, request_id: str) -> bytes:
    try:
        return _prediction(result)
    except ServiceError as error:
        return error.body(request_id)


def _picture_error(reply: trip.Reply) -> ServiceError:
    try:
        reason = json.loads(reply.body)
        return PictureError(reply.status, reason["code"], reason["message"])
    except (ValueError, KeyError, TypeError):
        return ModelServerError()
