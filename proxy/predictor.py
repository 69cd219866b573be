"""From pictures to replies: which lane they take, what is tried again, and when it has taken too long.

Small pictures share trips to the model `mnist`. A picture that is large, that the handler sends back as too large to
share, or whose shared trip failed, travels alone to `mnist_large`, which has workers of its own: what is slow there
delays nobody here, and a picture that kills workers takes no other picture with it.
"""

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from time import monotonic

from proxy.errors import DeadlineExceeded, ModelServerError, ServiceError
from proxy.lane import Lane, Upload
from proxy.settings import Settings
from proxy.torchserve import TorchServe
from proxy.trip import TRAVEL_ALONE, Reply

ATTEMPTS = 3  # trips of its own before a picture is given up
PAUSE = 0.2  # seconds before the second of them, twice as long before the third

Result = Reply | ServiceError


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
        self.shared = Lane(small, trips, pictures, s.trip_bytes, s.queue_pictures)
        self.alone = Lane(large, s.large_trips, 1, s.large_bytes, s.queue_pictures)
        self._most = pictures

    async def predict(self, images: Sequence[bytes], flag: int, uploads: list[Upload]) -> list[Result]:
        """A reply or an error for each image, in order; one image's failure is its own.

        Args:
            flag: trip.DETAILS or 0.
            uploads: gets every upload that travelled, for whoever measures.
        """
        groups = list(self._groups(images))
        if len(groups) == 1:  # one picture, nearly always: not worth a task
            return await self._travel(groups[0], flag, uploads)
        results = await asyncio.gather(*(self._travel(group, flag, uploads) for group in groups))
        return [result for group in results for result in group]

    def _groups(self, images: Sequence[bytes]) -> Iterator[list[bytes]]:
        """Neighbours that may travel together; a large image is a group of its own."""
        group: list[bytes] = []
        size = 0
        for image in images:
            large = len(image) > self._settings.large_bytes
            if group and (large or len(group) == self._most or size + len(image) > self._settings.trip_bytes):
                yield group
                group, size = [], 0
            group.append(image)
            size += len(image)
            if large:
                yield group
                group, size = [], 0
        if group:
            yield group

    async def _travel(self, images: list[bytes], flag: int, uploads: list[Upload]) -> list[Result]:
        deadline = monotonic() + self._settings.deadline_seconds
        try:
            async with asyncio.timeout_at(deadline):
                replies = await self._together(images, flag, deadline, uploads)
                if all(reply is not None and reply.status != TRAVEL_ALONE for reply in replies):
                    return replies  # type: ignore[return-value]
                return await asyncio.gather(
                    *(
                        self._by_itself(image, flag, deadline, uploads, reply)
                        for image, reply in zip(images, replies, strict=True)
                    )
                )
        except TimeoutError:
            return [DeadlineExceeded()] * len(images)
        except ServiceError as error:
            return [error] * len(images)

    async def _together(
        self, images: list[bytes], flag: int, deadline: float, uploads: list[Upload]
    ) -> list[Reply | None]:
        """Replies from a shared trip; None where there is none, because the image is large or the trip failed."""
        if len(images[0]) > self._settings.large_bytes:
            return [None]
        uploads.append(Upload(images, flag, deadline))
        try:
            return list(await self.shared.forward(uploads[-1]))
        except ModelServerError:
            return [None] * len(images)

    async def _by_itself(
        self, image: bytes, flag: int, deadline: float, uploads: list[Upload], reply: Reply | None
    ) -> Result:
        if reply is not None and reply.status != TRAVEL_ALONE:
            return reply
        for attempt in range(1, ATTEMPTS + 1):
            uploads.append(Upload((image,), flag, deadline))
            try:
                return (await self.alone.forward(uploads[-1]))[0]
            except ModelServerError as error:
                if attempt == ATTEMPTS:
                    return error
                await asyncio.sleep(PAUSE * attempt)
            except ServiceError as error:
                return error
        raise AssertionError("unreachable")
