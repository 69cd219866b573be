"""From pictures to replies: which lane they take, what is tried again, and when it has taken too long.

Small pictures share trips to the model `mnist_trips`. A picture that is large, that the handler sends back as too large
to share, or whose shared trip failed, travels alone to `mnist_large`, which has workers of its own: what is slow there
delays nobody here, and a picture that kills workers takes no other picture with it.
"""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from functools import partial
from time import monotonic

from proxy.errors import DeadlineExceeded, ModelServerError, ServiceError
from proxy.lane import Lane, Upload
from proxy.request import Request
from proxy.settings import Settings
from proxy.torchserve import TorchServe
from proxy.trip import TRAVEL_ALONE, Reply

PAUSES = (0.0, 0.2, 0.4)  # seconds before each attempt of a picture that travels alone
# Seconds until a shared trip counts as lost: TorchServe forgets the one that a worker was just taking when it died
# (Model.pollBatch is interrupted between two rows, and the first is dropped without an answer).
PATIENCE = 3.0

Turn = asyncio.Semaphore | None
Result = Reply | ServiceError
_AGAIN = Reply(TRAVEL_ALONE, b"")  # stands for the reply of a picture whose shared trip failed


class Predictor:
    """Carries pictures to TorchServe and their replies back.

    Args:
        settings: sizes of trips and queues, names of the models, the deadline.
        torchserve: the client that makes the trips.
    """

    def __init__(self, settings: Settings, torchserve: TorchServe) -> None:
        s = self._settings = settings
        trips, pictures = (s.trips, s.trip_pictures) if s.coalesce else (s.trip_pictures, 1)
        small, large = partial(torchserve.carry, s.ts_model, False), partial(torchserve.carry, s.ts_large_model, True)
        self.shared = Lane(small, trips, pictures, s.trip_bytes, s.queue_pictures, PATIENCE)
        self.alone = Lane(large, s.large_trips, 1, s.large_bytes, s.queue_pictures, s.deadline_seconds)

    async def predict(self, images: Sequence[bytes], request: Request, turn: Turn = None) -> list[Result]:
        """A reply or an error for each image, in order; one image's failure is its own.

        Args:
            images: one image, or several that may share a trip (proxy/batch.py).
            request: who asks; gets every upload that travelled, for whoever measures.
            turn: held by each trip alone, so that one request's many do not go before everybody else's.
        """
        deadline = monotonic() + self._settings.deadline_seconds
        upload = _upload(images, request, deadline)
        if len(images[0]) > self._settings.large_bytes:
            return [await self._by_itself(upload, turn)]
        try:
            replies = await self.shared.forward(upload)
        except ModelServerError:
            replies = [_AGAIN] * len(images)
        except ServiceError as error:
            return [error] * len(images)
        lone = [index for index, reply in enumerate(replies) if reply.status == TRAVEL_ALONE]
        if not lone:
            return [*replies]
        uploads = [_upload((images[index],), request, deadline) for index in lone]
        rest = iter(await asyncio.gather(*(self._by_itself(each, turn) for each in uploads)))
        return [next(rest) if reply.status == TRAVEL_ALONE else reply for reply in replies]

    async def _by_itself(self, upload: Upload, turn: Turn) -> Result:
        try:
            async with asyncio.timeout_at(upload.deadline):
                for pause in PAUSES:
                    await asyncio.sleep(pause)
                    with suppress(ModelServerError):
                        async with turn or nullcontext():
                            return (await self.alone.forward(upload))[0]
            return ModelServerError()
        except TimeoutError:
            return DeadlineExceeded()
        except ServiceError as error:
            return error


def _upload(images: Sequence[bytes], request: Request, deadline: float) -> Upload:
    """For these images of the request, which is told of it."""
    upload = Upload(images, request.flag, deadline, request.traceparent)
    request.uploads.append(upload)
    return upload
