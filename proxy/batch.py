"""POST /api/mnist/batch: many pictures in one body, a prediction or an error for each, in order."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import chain

from proxy.api import Api, prediction
from proxy.errors import BodyTooLarge, Refusal, ServiceError
from proxy.predictor import Result
from proxy.request import Request, Response
from proxy.settings import Settings


class Batch:
    """The endpoint; shares admission and predictor with that of one picture."""

    def __init__(self, settings: Settings, api: Api) -> None:
        self._settings, self._api = settings, api

    async def __call__(self, request: Request) -> Response:
        try:
            images = await self._api.images(
                request, self._api.predictor.bulk, self._settings.max_batch_bytes, self._settings.max_batch_images
            )
            results = await self._predict(images, request)
        finally:
            self._api.held -= request.size
        if isinstance(results[0], Refusal) and all(isinstance(result, Refusal) for result in results):
            raise results[0]
        bodies = [_body(result, request.id) for result in results]
        return Response(200, b'{"results": [' + b", ".join(bodies) + b'], "success": true}')

    async def _predict(self, images: list[bytes], request: Request) -> list[Result]:
        limit, turn = self._settings.max_body_bytes, asyncio.Semaphore(self._settings.large_trips)
        groups = groups_of([image for image in images if len(image) <= limit], self._settings)
        answers = await asyncio.gather(*(self._api.predictor.predict(group, request, turn) for group in groups))
        results = chain.from_iterable(answers)
        return [next(results) if len(image) <= limit else BodyTooLarge(limit) for image in images]


def groups_of(images: Sequence[bytes], settings: Settings) -> Iterator[list[bytes]]:
    """Neighbours that may share a trip; a large image is a group of its own."""
    most = settings.trip_pictures if settings.coalesce else 1
    group: list[bytes] = []
    for image in images:
        large = max(map(len, (image, *group[:1]))) > settings.large_bytes  # or the one before it was
        if group and (large or len(group) == most or sum(map(len, group)) + len(image) > settings.trip_bytes):
            yield group
            group = []
        group.append(image)
    if group:
        yield group


def _body(result: Result, request_id: str) -> bytes:
    try:
        return prediction(result)
    except ServiceError as error:
        return error.with_traceback(None).body(request_id)
