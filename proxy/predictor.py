"""From pictures to replies: which lane they take, what is tried again, and when it has taken too long.

small  a small picture, the only one of its request: shares trips to `mnist_small` and its one worker
bulk   larger ones, and those of a request of many: share trips to `mnist_bulk`, which has as many workers as cores
alone  the huge, those the handler sends back as too large to share, those whose shared trip failed: each makes a trip
       to `mnist_bulk` by itself, and few do at one time, so that workers are left for the bulk

What is slow delays no small picture, and a picture that kills workers takes no other with it. A second worker for the
small ones would make them slower: it competes with the proxy for the cores (docs/performance.md).
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
        # Without coalescing: one picture a trip, as many trips at one time as one would have carried pictures.
        pictures, apart = (s.trip_pictures, 0) if s.coalesce else (1, s.trip_pictures)
        shared = pictures, s.trip_bytes, s.queue_pictures, PATIENCE
        self.small = Lane(partial(torchserve.carry, s.ts_small_model, False), apart or s.small_trips, *shared)
        self.bulk = Lane(partial(torchserve.carry, s.ts_bulk_model, False), apart or s.bulk_trips, *shared)
        self.alone = Lane(
            carry=partial(torchserve.carry, s.ts_bulk_model, True),
            trips=s.large_trips,
            pictures=1,
            size=s.large_bytes,
            queue=s.queue_pictures,
            patience=s.deadline_seconds,
        )

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
        lane = self.bulk if len(images) > 1 or upload.size > self._settings.small_bytes else self.small
        try:
            replies = await lane.forward(upload)
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
