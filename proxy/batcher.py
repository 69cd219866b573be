"""A bounded queue in front of a few batches in flight.

submit -> queue -> batch, as soon as one of `max_in_flight` slots is free -> send -> each item's own result

The batcher is work-conserving: while a slot is free and an image waits, a batch goes. It takes one image of each
waiting request in turn, the oldest request first, up to `max_batch_size` images and `max_batch_bytes` together; an
image with more bytes is a batch of its own. A lone image never waits for others, a request of many images does not keep
others waiting, and while all slots are busy the next batch gathers.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from time import monotonic
from typing import NamedTuple

from proxy.errors import Cause, DeadlineExceeded, InternalError, ModelServerError, Overloaded, ServiceError

log = logging.getLogger(__name__)
SWEEP_SECONDS = 0.1  # between two sweeps; a batch is given up two of them after its last deadline

Result = bytes | ServiceError  # of one image: the body for the client, or what is wrong


class Item:
    """One image on its way.

    Attributes:
        image: its encoded bytes.
        flags: of the wire format (proxy/torchserve.py).
        deadline: monotonic seconds.
        result: future of the result, never of an exception; cancelled where nobody waits for it any more.
        enqueued, dispatched, completed: monotonic seconds, 0 until it happens.
    """

    def __init__(self, image: bytes, flags: int, deadline: float) -> None:
        self.image, self.flags, self.deadline = image, flags, deadline
        self.result: asyncio.Future[Result]
        self.enqueued = self.dispatched = self.completed = 0.0


Send = Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]


class Limits(NamedTuple):
    """What bounds a batcher.

    max_batch_size, max_batch_bytes: most images in one batch, and most bytes of them.
    max_in_flight: most batches in flight.
    queue_size: most images waiting.
    timeout: seconds until a batch without an answer counts as failed.
    """

    max_batch_size: int
    max_batch_bytes: int
    max_in_flight: int
    queue_size: int
    timeout: float


class Batcher:
    """Gathers images into batches.

    Args:
        send: sends one batch; returns a result for each item, in order, or raises a ServiceError.
        overloaded: the cause that a refusal names when the queue is full.
        limits: of its queue and its batches.

    Attributes:
        queued: images waiting.
        in_flight: the batches sent and not yet answered, by their tasks.
        on_batch: called after each batch with its images and its seconds.
    """

    def __init__(self, send: Send, overloaded: Cause, limits: Limits) -> None:
        self._send, self._overloaded, self._limits = send, overloaded, limits
        self._loop = asyncio.get_running_loop()
        self._queue: deque[deque[Item]] = deque()  # the waiting items of each request
        self.in_flight: dict[asyncio.Task[None], list[Item]] = {}
        self._dispatch_scheduled = False
        self.queued = 0
        self.on_batch: Callable[[int, float], None] = lambda images, seconds: None

    def check_room(self, images: int = 1) -> None:
        """Raise Overloaded where the queue has no room for so many; an empty queue takes any number."""
        if self.queued and self.queued + images > self._limits.queue_size:
            raise Overloaded(self._overloaded)

    def submit(self, items: Sequence[Item]) -> None:
        """Queue the items of a request; each one's `result` is set later. Raises Overloaded, and then queues none.

        An item that has its result may be submitted again.
        """
        self.check_room(len(items))
        now = monotonic()
        for item in items:
            item.result = self._loop.create_future()
            item.enqueued, item.dispatched, item.completed = now, 0.0, 0.0
        self._queue.append(deque(items))
        self.queued += len(items)
        if not self._dispatch_scheduled:  # once for all that arrives in this turn of the loop
            self._dispatch_scheduled = True
            self._loop.call_soon(self._dispatch)

    def sweep(self) -> None:
        """Fail what is past its deadline and drop what nobody waits for.

        To be called every SWEEP_SECONDS, since a timer for each item would cost more.
        """
        now = monotonic()
        for item in chain(*self._queue, *self.in_flight.values()):
            if now > item.deadline and not item.result.done():
                item.result.set_result(DeadlineExceeded())
        if any(item.result.done() for item in chain(*self._queue)):
            waiting = [deque(item for item in items if not item.result.done()) for items in self._queue]
            self._queue = deque(filter(None, waiting))
            self.queued = sum(map(len, self._queue))

    def _dispatch(self) -> None:
        self._dispatch_scheduled = False
        while self._queue and len(self.in_flight) < self._limits.max_in_flight:
            batch = self._next_batch()
            self.in_flight[self._loop.create_task(self._run(batch))] = batch

    def _next_batch(self) -> list[Item]:
        batch, size, now = list[Item](), 0, monotonic()
        while self._queue and len(batch) < self._limits.max_batch_size:
            waiting = self._queue[0]
            size += len(waiting[0].image)
            if batch and size > self._limits.max_batch_bytes:
                break
            item = waiting.popleft()
            item.dispatched = now
            batch.append(item)
            self._queue.popleft()
            if waiting:
                self._queue.append(waiting)
        self.queued -= len(batch)
        return batch

    async def _run(self, batch: list[Item]) -> None:
        last = max(item.deadline for item in batch) + 2 * SWEEP_SECONDS
        results: Sequence[Result]
        try:
            async with asyncio.timeout_at(min(last, batch[0].dispatched + self._limits.timeout)):
                results = await self._send(batch)
        except TimeoutError:
            results = [ModelServerError()] * len(batch)
        except ServiceError as error:  # its frames would hold the images until the next garbage collection
            results = [error.with_traceback(None)] * len(batch)
        except Exception:
            log.exception("a batch of %d images failed", len(batch))
            results = [InternalError()] * len(batch)
        del self.in_flight[asyncio.current_task(self._loop)]  # type: ignore[arg-type]
        self._dispatch()  # first: what the results set off keeps the loop busy for milliseconds
        now = monotonic()
        for item, result in zip(batch, results, strict=True):
            item.completed = now
            if not item.result.done():  # else cancelled or past its deadline
                item.result.set_result(result)
        self.on_batch(len(batch), now - batch[0].dispatched)
