"""A lane: a bounded queue of uploads in front of a few trips under way.

An upload that finds no trip under way leaves at once. While some are, the next one leaves with its fair share of the
pictures, no fewer and no more: were it to leave with the first that comes, most trips would be nearly empty, and each
costs TorchServe and its worker a millisecond; were it to take all that wait, one worker would work while the others
wait. So a lone upload never waits for company, and the busier the service, the fuller its trips (docs/performance.md).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import chain
from time import monotonic

from proxy.errors import DeadlineExceeded, InternalError, ModelServerError, Overloaded, ServiceError
from proxy.trip import Reply

log = logging.getLogger(__name__)
NEARLY = 0.75  # of its share is enough for a trip: who waits for the last few waits for a landing
FEW = 16  # pictures that are not worth two trips, whatever the share
SLACK = 0.2  # seconds after its deadline by which an upload has been looked at
Carry = Callable[[Sequence["Upload"]], Awaitable[list[Reply]]]


class Upload:
    """Pictures of one client that travel together, the future of their replies, and when what happened to them."""

    __slots__ = ("deadline", "flag", "images", "joined", "left", "replies", "returned", "size", "traceparent")

    def __init__(self, images: Sequence[bytes], flag: int, deadline: float, traceparent: str = "") -> None:
        # flag: trip.DETAILS or 0; deadline: monotonic seconds
        self.images, self.flag, self.deadline, self.traceparent = images, flag, deadline, traceparent
        self.size = sum(map(len, images))  # bytes
        self.replies: asyncio.Future[list[Reply]]
        self.joined = self.left = self.returned = 0.0  # monotonic seconds: the queue, on the trip, with its replies


class Lane:
    """Uploads wait here and share trips.

    Args:
        carry: makes one trip with uploads; a reply for each of their images, or a ServiceError raised.
        trips: most trips under way at one time.
        pictures, size: most pictures and bytes in one trip; an upload that alone is more travels by itself.
        queue: most pictures waiting.
        patience: seconds until a trip without an answer counts as failed.

    Attributes:
        waiting: pictures in the queue.
        under_way: the trips and who is aboard.
        on_trip: called after each trip with its pictures and seconds.
    """

    def __init__(self, carry: Carry, trips: int, pictures: int, size: int, queue: int, patience: float) -> None:
        self._carry, self._trips, self._pictures, self._size, self._most = carry, trips, pictures, size, queue
        self._loop = asyncio.get_running_loop()  # asked once: a system call before Python 3.12
        self._queue: deque[Upload] = deque()
        self.under_way: dict[asyncio.Task[None], list[Upload]] = {}
        self._patience, self._departing = patience, False
        self.waiting = self._aboard = 0
        self.on_trip: Callable[[int, float], None] = lambda pictures, seconds: None

    def full(self, pictures: int = 1) -> bool:
        """Whether the queue has no room for so many; an empty one takes any number."""
        return self.waiting > 0 and self.waiting + pictures > self._most

    async def forward(self, upload: Upload) -> list[Reply]:
        """The replies to the upload's images, in order.

        Raises:
            Overloaded: the queue is full.
            DeadlineExceeded: the upload's deadline has passed.
            ServiceError: what became of the trip this upload was on.
        """
        if self.full(len(upload.images)):
            raise Overloaded()
        upload.replies = self._loop.create_future()
        upload.joined, upload.left = monotonic(), 0.0
        self._queue.append(upload)
        self.waiting += len(upload.images)
        if not self._departing:  # with all that arrived at the same moment
            self._departing = True
            self._loop.call_soon(self._depart)
        try:
            return await upload.replies
        except asyncio.CancelledError:  # the client went away
            self._leave(upload)
            raise

    def _leave(self, upload: Upload) -> None:
        """Free the upload's place where it still waits."""
        with suppress(ValueError):  # on its trip, or gone already
            self._queue.remove(upload)
            self.waiting -= len(upload.images)

    def _depart(self) -> None:
        self._departing = False
        while self._queue and len(self.under_way) < self._trips and self.waiting >= NEARLY * self._share():
            aboard = self._board()
            self.under_way[self._loop.create_task(self._travel(aboard))] = aboard

    def _share(self) -> int:
        """Pictures of each trip, were all that are here spread evenly over as many as there may be."""
        return min(self._pictures, -(-(self.waiting + self._aboard) // self._trips))

    def _board(self) -> list[Upload]:
        """Take from the queue what fits into one trip: at least one upload."""
        aboard: list[Upload] = []
        pictures = room = min(self._pictures, max(FEW, self._share()))
        size, now = self._size, monotonic()
        while self._queue and not (aboard and (len(self._queue[0].images) > room or self._queue[0].size > size)):
            upload = self._queue.popleft()
            aboard.append(upload)
            upload.left = now
            room, size = room - len(upload.images), size - upload.size
        self.waiting -= pictures - room
        self._aboard += pictures - room
        return aboard

    async def _travel(self, uploads: list[Upload]) -> None:
        outcome: list[Reply] | ServiceError = InternalError()
        end = max(upload.deadline for upload in uploads) + SLACK
        try:
            async with asyncio.timeout_at(min(end, uploads[0].left + self._patience)):
                outcome = await self._carry(uploads)
        except TimeoutError:
            outcome = ModelServerError()
        except ServiceError as error:
            outcome = error.with_traceback(None)  # this frame holds it, and the images: until the next gc
        except Exception:
            log.exception("a trip of %d uploads failed on our side", len(uploads))
        del self.under_way[asyncio.current_task(self._loop)]  # type: ignore[arg-type]
        self._aboard -= sum(len(upload.images) for upload in uploads)
        self._depart()  # the next trip first: what the replies set off keeps the loop busy for milliseconds
        self._hand_over(uploads, outcome)

    def _hand_over(self, uploads: list[Upload], outcome: list[Reply] | ServiceError) -> None:
        at, now = 0, monotonic()
        for upload in uploads:
            upload.returned = now
            if not upload.replies.done():  # else cancelled, or too late: nobody waits for it any more
                if isinstance(outcome, ServiceError):
                    upload.replies.set_exception(outcome)
                else:
                    upload.replies.set_result(outcome[at : at + len(upload.images)])
            at += len(upload.images)
        self.on_trip(at, now - uploads[0].left)

    def look(self) -> None:
        """Answer those whose deadline has passed; called now and then (proxy/watch.py)."""
        now = monotonic()
        for upload in (*self._queue, *chain.from_iterable(self.under_way.values())):
            if now > upload.deadline and not upload.replies.done():
                self._leave(upload)
                upload.replies.set_exception(DeadlineExceeded())
