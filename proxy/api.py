"""POST /api/mnist: one picture in, its prediction or its error out."""

import json

from proxy import upload
from proxy.errors import ModelServerError, Overloaded, PictureError, ServiceError
from proxy.lane import Lane
from proxy.predictor import Predictor, Result
from proxy.readiness import Readiness
from proxy.request import Request, Response
from proxy.settings import Settings


class Api:
    """The endpoint.

    Attributes:
        held: bytes of all uploads that are being read or answered at this moment.
    """

    def __init__(self, settings: Settings, predictor: Predictor, readiness: Readiness) -> None:
        self._settings, self.predictor, self._readiness = settings, predictor, readiness
        self.held = 0

    async def __call__(self, request: Request) -> Response:
        try:
            images = await self.images(request, self.predictor.small, self._settings.max_body_bytes, most=1)
            [result] = await self.predictor.predict(images, request)
        finally:
            self.held -= request.size
        return Response(200, prediction(result))

    def admit(self, lane: Lane, request: Request) -> None:
        """A gate: raise NotReady or Overloaded where an upload for the lane could only wait in vain."""
        self._readiness.admit()
        if self.overloaded(lane, request.exchange.crowded):
            raise Overloaded()

    def overloaded(self, lane: Lane, crowded: bool) -> bool:
        """Whether an upload would be refused: the lane has no room or, where it is crowded, the proxy no time."""
        return (crowded or lane.full()) and not self._readiness.shut

    async def images(self, request: Request, lane: Lane, size: int, most: int) -> list[bytes]:
        """The pictures of an upload of at most `size` bytes; the caller takes what they are from `held` at the end.

        Args:
            lane: asked again for room once the body is here: many arrive at one moment, and refusing must be cheap.

        Raises:
            BadUpload, Overloaded
        """
        body = await upload.read(request, upload.announced(request, size), self._settings.body_seconds, self.hold)
        if lane.full():
            raise Overloaded()
        return upload.images(request, body, most)

    def hold(self, request: Request, size: int) -> None:
        """Keep `size` more bytes of the upload; raises Overloaded where others' leave no room for them."""
        if self.held > request.size and self.held + size > self._settings.max_held_bytes:
            raise Overloaded()
        self.held += size
        request.size += size


def prediction(result: Result) -> bytes:
    """The body for a picture that was read; raises what is wrong with any other."""
    if isinstance(result, ServiceError):
        raise result
    if result.status == 200:
        return result.body
    try:
        raise PictureError(result.status, **json.loads(result.body))
    except (ValueError, TypeError) as error:
        raise ModelServerError() from error
