"""The access log, one line of JSON a request on standard output, and a handler that no output can hold up.

request -> line -> ten times a second one logging record with the lines so far -> bounded queue -> a thread writes it

A slow, full or closed output costs lines, never answers. Of an upload a line tells the size and nothing else. Probes
and scrapes are left out. A record for each line would cost a tenth of the whole stack's rate
(docs/decisions/2026-11-26-access-log.md).
"""

import logging
import os
import queue
from datetime import UTC, datetime
from functools import lru_cache
from logging.handlers import QueueHandler, QueueListener
from time import time

from proxy.app import Request, Response
from proxy.errors import quoted

QUEUE_RECORDS = 256  # waiting for the output, some 100 MB at full load; further lines are lost
UNLOGGED = frozenset(("/livez", "/readyz", "/metrics"))
_timestamp = lru_cache(2)(lambda ms: datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds"))


class BackgroundHandler(QueueHandler):
    """Writes records to a descriptor from a thread of its own. What the output does not take is lost and counted.

    Attributes:
        lost: lines that could not be written.
    """

    def __init__(self, descriptor: int) -> None:
        self._records: queue.Queue[logging.LogRecord] = queue.Queue(QUEUE_RECORDS)
        super().__init__(self._records)
        self._refused, self._output = 0, _Output(descriptor)
        QueueListener(self._records, self._output).start()  # type: ignore[arg-type]

    @property
    def lost(self) -> int:
        return self._refused + self._output.lost

    def handleError(self, record: logging.LogRecord) -> None:
        """The queue is full, or the record cannot be formatted."""
        self._refused += 1 + str(record.msg).count("\n")

    def close(self) -> None:
        """Wait up to a second until all is written; an output that is stuck is left alone."""
        with self._records.all_tasks_done:
            self._records.all_tasks_done.wait_for(lambda: not self._records.unfinished_tasks, 1)
        super().close()


class _Output:
    """Writes to a descriptor and counts the lines that it does not take: its disk is full, or nobody reads.

    It is no logging.Handler: at the end of the process `logging` would wait for the lock of one that is stuck.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._failed, self.lost = descriptor, False, 0

    def handle(self, record: logging.LogRecord) -> None:
        # After a failure the output may end within a line, so the next one begins with a line break.
        data = b"\n" * self._failed + f"{record.msg}\n".encode(errors="backslashreplace")
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            self.lost += data.lstrip(b"\n").count(b"\n")
        self._failed = bool(data)


class AccessLog:
    """Formats lines at once and writes them later. Close it with `close`.

    Args:
        log_format: LOG_FORMAT: json or off.
        descriptor: of the file that the lines go to.
    """

    def __init__(self, log_format: str, descriptor: int = 1) -> None:
        self._enabled = log_format == "json"
        self._lines: list[str] = []
        self._handler = BackgroundHandler(descriptor)

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return self._handler.lost

    def observe(self, request: Request, response: Response) -> None:
        """Log a request whose response is sent."""
        if self._enabled and request.path not in UNLOGGED:
            self._lines.append(as_json(request, response))

    def flush(self) -> None:
        """Pass on the lines so far; to be called ten times a second."""
        if self._lines:
            self._handler.handle(logging.makeLogRecord({"msg": "\n".join(self._lines)}))
            self._lines.clear()

    def close(self) -> None:
        """Write what is left, if the output takes it."""
        self.flush()
        self._handler.close()


def as_json(request: Request, response: Response) -> str:
    """One line. `ms`: the whole request; until its body was read; the longest wait in the queue and the longest batch.
    The last three are 0 where the request did not come so far. Where an image was tried again, its last attempt counts.
    """
    total, receive, queued, upstream = (seconds * 1000 for seconds in _durations(request))
    trace = f', "trace_id": "{request.traceparent[3:35]}"' if request.traceparent else ""
    # An f-string takes less than half the time of json.dumps, which still quotes the two fields that may hold any text.
    return (
        f'{{"time": "{_timestamp(int(time() * 1000))}", "id": "{request.id}", '
        f'"method": {quoted(request.method[:256])}, "path": {quoted(request.path[:256])}, '
        f'"status": {response.status}, "code": "{request.code}", "cause": "{request.cause.value}", '
        f'"ms": {{"total": {total:.2f}, "receive": {receive:.2f}, "queue": {queued:.2f}, "upstream": {upstream:.2f}}}, '
        f'"bytes": {{"in": {request.buffered}, "out": {len(response.body)}}}, "images": {len(request.items)}{trace}}}'
    )


def _durations(request: Request) -> tuple[float, float, float, float]:
    end, queued, upstream = request.responded, 0.0, 0.0
    receive = request.body_read - request.received if request.body_read else 0.0
    for item in request.items:
        dispatched = item.dispatched or end
        queued, upstream = max(queued, dispatched - item.enqueued), max(upstream, (item.completed or end) - dispatched)
    return end - request.received, receive, queued, upstream
