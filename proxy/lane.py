"""A lane: a bounded queue of uploads in front of a few trips under way.

An upload that finds no trip under way leaves at once. While some are, the next one leaves with its fair share of the
pictures: were it to leave with the first that comes, most trips would be nearly empty, and each costs TorchServe and
its worker a millisecond. So a lone upload never waits for company, and the busier the service, the fuller its trips
(docs/performance.md).
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
PERIOD = 0.05  # seconds between looks at the deadlines; a timer for each would be a tenth of the proxy's work
Carry = Callable[[Sequence[bytes], Sequence[int], str], Awaitable[list[Reply]]]


class Upload:
    """Pictures of one client that travel together, the future of their replies, and when what happened to them."""

    __slots__ = ("deadline", "flag", "images", "joined", "left", "replies", "returned", "size", "traceparent")

    def __init__(self, images: Sequence[bytes], flag: int, deadline: float, traceparent: str = "") -> None:
        self.images, self.flag, self.deadline = images, flag, deadline  # trip.DETAILS or 0; monotonic seconds
        self.traceparent = traceparent
        self.size = sum(map(len, images))  # bytes
        self.replies: asyncio.Future[list[Reply]]
        self.joined = self.left = self.returned = 0.0  # monotonic seconds: the queue, on the trip, with its replies


class Lane:
    """Uploads wait here and share trips.

    Args:
        carry: makes one trip with images, flags and a traceparent; a reply for each image, or a ServiceError raised.
        trips: most trips under way at one time.
        pictures, size: most pictures and bytes in one trip; an upload that alone is more travels by itself.
        queue: most pictures waiting.
        patience: seconds until a trip without an answer counts as failed.

    Attributes:
        waiting: pictures in the queue.
        on_trip: called after each trip with its pictures and seconds.
    """

    def __init__(self, carry: Carry, trips: int, pictures: int, size: int, queue: int, patience: float) -> None:
        self._carry, self._trips, self._pictures, self._size, self._most = carry, trips, pictures, size, queue
        self._patience = patience
        self._loop = asyncio.get_running_loop()  # asked once: a system call before Python 3.12
        self._queue: deque[Upload] = deque()
        self._under_way: dict[asyncio.Task[None], list[Upload]] = {}
        self._departing = self._watching = False
        self.waiting = self._aboard = 0
        self.on_trip: Callable[[int, float], None] = lambda pictures, seconds: None

    @property
    def under_way(self) -> int:
        """Trips under way."""
        return len(self._under_way)

    @property
    def full(self) -> bool:
        """Whether the queue takes no further upload."""
        return self.waiting >= self._most

    async def forward(self, upload: Upload) -> list[Reply]:
        """The replies to the upload's images, in order.

        Raises:
            Overloaded: the queue is full.
            DeadlineExceeded: the upload's deadline has passed.
            ServiceError: what became of the trip this upload was on.
        """
        if self.waiting and self.waiting + len(upload.images) > self._most:
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
        while self._queue and len(self._under_way) < self._trips and self._worth_a_trip():
            aboard = self._board()
            self._under_way[self._loop.create_task(self._travel(aboard))] = aboard
        if not self._watching and self._under_way:
            self._watching = True
            self._loop.call_later(PERIOD, self._watch)

    def _worth_a_trip(self) -> bool:
        """Whether those who wait fill a trip, or are their share of all pictures here."""
        return self.waiting >= self._pictures or self.waiting * (self._trips - 1) >= self._aboard

    def _watch(self) -> None:
        """Answer those whose deadline has passed; again while anybody is here."""
        now = monotonic()
        for upload in [*self._queue, *chain.from_iterable(self._under_way.values())]:
            if now > upload.deadline and not upload.replies.done():
                self._leave(upload)
                upload.replies.set_exception(DeadlineExceeded())
        if self._under_way:
            self._loop.call_later(PERIOD, self._watch)
        else:
            self._watching = False

    def _board(self) -> list[Upload]:
        """Take from the queue what fits into one trip: at least one upload."""
        aboard: list[Upload] = []
        pictures = size = 0
        while self._queue:
            upload = self._queue[0]
            pictures, size = pictures + len(upload.images), size + upload.size
            if aboard and (pictures > self._pictures or size > self._size):
                break
            aboard.append(self._queue.popleft())
            self.waiting -= len(upload.images)
            self._aboard += len(upload.images)
            upload.left = monotonic()
        return aboard

    async def _travel(self, uploads: list[Upload]) -> None:
        images = [image for upload in uploads for image in upload.images]
        flags = [upload.flag for upload in uploads for _ in upload.images]
        traceparent = uploads[0].traceparent if len(uploads) == 1 else ""  # a shared trip belongs to many traces
        end = max(upload.deadline for upload in uploads)
        replies: list[Reply] = []
        failure: ServiceError | None = None
        try:
            # by then _watch has answered those whose deadline has passed
            async with asyncio.timeout_at(min(end + 2 * PERIOD, uploads[0].left + self._patience)):
                replies = await self._carry(images, flags, traceparent)
        except TimeoutError:
            failure = ModelServerError()
        except ServiceError as error:
            failure = error.with_traceback(None)  # this frame holds it, and the images: until the next gc
        except Exception:
            log.exception("a trip of %d pictures failed on our side", len(images))
            failure = InternalError()
        del self._under_way[asyncio.current_task()]  # type: ignore[arg-type]
        self._aboard -= len(images)
        self._depart()  # the next trip first: what the replies set off keeps the loop busy for milliseconds
        self._hand_over(uploads, replies, failure)

    def _hand_over(self, uploads: list[Upload], replies: list[Reply], failure: ServiceError | None) -> None:
        at, now = 0, monotonic()
        for upload in uploads:
            upload.returned = now
            if upload.replies.done():  # cancelled: nobody waits for it any more
                pass
            elif failure:
                upload.replies.set_exception(failure)
            else:
                upload.replies.set_result(replies[at : at + len(upload.images)])
            at += len(upload.images)
        self.on_trip(at, now - uploads[0].left)
