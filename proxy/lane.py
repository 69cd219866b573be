"""A lane: a bounded queue of uploads in front of a few trips under way.

An upload that finds a free trip leaves at once; those that find none wait together and share the next one. So a lone
upload never waits for company, and the busier the service, the fuller its trips. Measured at 2-3 times the throughput
of one request an upload (docs/performance.md).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

from proxy.errors import InternalError, Overloaded, ServiceError
from proxy.trip import Reply

log = logging.getLogger(__name__)
Carry = Callable[[Sequence[bytes], Sequence[int]], Awaitable[list[Reply]]]


class Upload:
    """Pictures of one client that travel together, and the future that gets their replies."""

    __slots__ = ("deadline", "flag", "images", "joined", "left", "replies", "returned", "size")

    def __init__(self, images: Sequence[bytes], flag: int, deadline: float) -> None:
        self.images = images
        self.flag = flag  # trip.DETAILS or 0
        self.deadline = deadline  # monotonic seconds
        self.size = sum(map(len, images))  # bytes
        self.replies: asyncio.Future[list[Reply]]
        self.joined = self.left = self.returned = 0.0  # monotonic seconds: into the queue, onto the trip, back again


class Lane:
    """Uploads wait here and share trips.

    Args:
        carry: makes one trip with images and flags; returns a reply for each image.
        trips: most trips under way at one time.
        pictures, size: most pictures and bytes in one trip; an upload that alone is more travels by itself.
        queue: most pictures waiting.
    """

    def __init__(self, carry: Carry, trips: int, pictures: int, size: int, queue: int) -> None:
        self._carry, self._trips, self._pictures, self._size, self._queue = carry, trips, pictures, size, queue
        self._waiting: deque[Upload] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self.waiting = 0  # pictures in the queue
        self.on_trip: Callable[[int, float], None] = lambda pictures, seconds: None

    @property
    def flying(self) -> int:
        """Trips under way."""
        return len(self._tasks)

    async def forward(self, upload: Upload) -> list[Reply]:
        """The replies to the upload's images, in order.

        Raises:
            Overloaded: the queue is full.
            ServiceError: what `carry` raised for the trip this upload was on.
        """
        count = len(upload.images)
        if self.waiting + count > self._queue and self.waiting:
            raise Overloaded()
        upload.replies = asyncio.get_running_loop().create_future()
        upload.joined, upload.left = monotonic(), 0.0
        self._waiting.append(upload)
        self.waiting += count
        self._depart()
        try:
            return await upload.replies
        except asyncio.CancelledError:  # the client went away or the deadline passed
            if not upload.left:
                self._waiting.remove(upload)
                self.waiting -= count
            raise

    def _depart(self) -> None:
        while self._waiting and len(self._tasks) < self._trips:
            task = asyncio.create_task(self._fly(self._board()))
            self._tasks.add(task)
            task.add_done_callback(self._land)

    def _land(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._depart()

    def _board(self) -> list[Upload]:
        """Take from the queue what fits into one trip: at least one upload."""
        aboard: list[Upload] = []
        pictures = size = 0
        now = monotonic()
        while self._waiting:
            upload = self._waiting[0]
            pictures += len(upload.images)
            size += upload.size
            if aboard and (pictures > self._pictures or size > self._size):
                break
            aboard.append(self._waiting.popleft())
            self.waiting -= len(upload.images)
            upload.left = now
        return aboard

    async def _fly(self, uploads: list[Upload]) -> None:
        images = [image for upload in uploads for image in upload.images]
        flags = [upload.flag for upload in uploads for _ in upload.images]
        left = monotonic()
        try:
            async with asyncio.timeout_at(max(upload.deadline for upload in uploads)):
                replies = await self._carry(images, flags)
        except TimeoutError:  # every upload aboard has passed its own deadline and gone
            return
        except ServiceError as error:
            self._strand(uploads, error)
        except Exception:
            log.exception("a trip of %d pictures failed on our side", len(images))
            self._strand(uploads, InternalError())
        else:
            self._return(uploads, replies)
        finally:
            self.on_trip(len(images), monotonic() - left)

    def _return(self, uploads: list[Upload], replies: list[Reply]) -> None:
        at, now = 0, monotonic()
        for upload in uploads:
            if not upload.replies.done():
                upload.returned = now
                upload.replies.set_result(replies[at : at + len(upload.images)])
            at += len(upload.images)

    def _strand(self, uploads: list[Upload], error: ServiceError) -> None:
        for upload in uploads:
            if not upload.replies.done():
                upload.replies.set_exception(error)
