"""The access log: one line a request on standard output, JSON for machines or text for people.

request -> line -> ten times a second one logging record with the lines so far -> bounded queue -> a thread writes it

A slow, full or closed output costs lines, never answers. Of an upload a line tells the size and nothing else. Probes
and scrapes are left out. A record for each line would cost a tenth of the whole stack's rate
(docs/decisions/2026-11-26-access-log.md).
"""

import logging
import os
import queue
import threading
from datetime import UTC, datetime
from functools import lru_cache
from logging.handlers import QueueHandler, QueueListener
from time import time

from proxy.app import Request, Response
from proxy.errors import quoted

QUEUE_RECORDS = 256  # that wait for the output, at most some 100 MB at full load; lines of more are lost
UNLOGGED = frozenset(("/livez", "/readyz", "/metrics"))
_timestamp = lru_cache(2)(lambda ms: datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds"))


class AccessLog:
    """Formats lines at once and writes them later. Close it with `close`.

    Args:
        log_format: LOG_FORMAT: json, text, off; auto is text on a terminal and JSON elsewhere.
        descriptor: of the file that the lines go to.
    """

    def __init__(self, log_format: str, descriptor: int = 1) -> None:
        if log_format == "auto":
            log_format = "text" if os.isatty(descriptor) else "json"
        self._format = {"json": as_json, "text": as_text, "off": None}[log_format]
        self._lines: list[str] = []
        records: queue.Queue[logging.LogRecord] = queue.Queue(QUEUE_RECORDS)
        self._queue, self._output = _Queue(records), _Output(descriptor)
        self._listener = QueueListener(records, self._output)
        self._listener.start()

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return self._queue.lost + self._output.lost

    def observe(self, request: Request, response: Response) -> None:
        """Log a request whose response is sent."""
        if self._format and request.path not in UNLOGGED:
            self._lines.append(self._format(request, response))

    def flush(self) -> None:
        """Pass on the lines so far; to be called ten times a second."""
        if self._lines:
            self._queue.handle(logging.makeLogRecord({"name": "proxy.access", "msg": "".join(self._lines)}))
            self._lines.clear()

    def close(self) -> None:
        """Write what is left; an output that is stuck is left alone."""
        self.flush()
        self._queue.handle(logging.makeLogRecord({"msg": ""}))
        self._output.finished.wait(1)


class _Queue(QueueHandler):
    """Loses the lines of a record where the queue is full."""

    lost = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.lost += record.msg.count("\n")


class _Output(logging.Handler):
    """Writes to a descriptor; a record without text sets `finished`."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor, self._incomplete, self.lost = descriptor, False, 0
        self.finished = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        # After a failure the output may end within a line, so the next one begins with a line break.
        data = memoryview((b"\n" * self._incomplete) + record.msg.encode())
        if not record.msg:
            self.finished.set()
            return
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
                self._incomplete = False
        except OSError:  # disk full, nobody reads: what is not written is lost
            self.lost += bytes(data).lstrip(b"\n").count(b"\n")
            self._incomplete = True


# `%` takes a third of the time of json.dumps; what may hold any text is quoted by it all the same.
_JSON = (
    '{"time": "%s", "id": "%s", "method": %s, "path": %s, "status": %d, "code": "%s", "cause": "%s", '
    '"ms": {"total": %.2f, "receive": %.2f, "queue": %.2f, "upstream": %.2f}, "bytes": {"in": %d, "out": %d}, '
    '"images": %d%s}\n'
)


def as_json(request: Request, response: Response) -> str:
    """A line for machines. `ms`: the whole request; until its body was read; the longest wait in the queue and the
    longest batch. The last three are 0 where the request did not come so far."""
    return _JSON % (
        _timestamp(int(time() * 1000)),
        request.id,
        quoted(request.method[:256]),
        quoted(request.path[:256]),
        response.status,
        request.code,
        request.cause.value,
        (request.responded - request.received) * 1000,
        *_hops(request),
        request.buffered,
        len(response.body),
        len(request.items),
        f', "trace_id": "{request.traceparent[3:35]}"' if request.traceparent else "",
    )


def as_text(request: Request, response: Response) -> str:
    """A line for people."""
    _, queued, upstream = _hops(request)
    hops = f" (queue {queued:.1f}, upstream {upstream:.1f})" if request.items else ""
    outcome = " ".join(filter(None, (request.method[:256], quoted(request.path[:256])[1:-1], request.code)))
    cause = f" ({request.cause.value})" if request.cause.value else ""
    total = (request.responded - request.received) * 1000
    return (
        f"{datetime.now():%H:%M:%S} {response.status} {outcome}{cause} {total:.1f} ms{hops} "
        f"{request.buffered} B in, {len(response.body)} B out, id {request.id}\n"
    )


def _hops(request: Request) -> tuple[float, float, float]:
    """Milliseconds until the first image was queued, of the longest wait in the queue, of the longest batch."""
    if not request.items:
        return 0.0, 0.0, 0.0
    end = request.responded
    receive = wait = batch = 0.0
    for item in request.items:
        if item.enqueued:  # else it was refused
            receive = receive or item.enqueued - request.received
            dispatched = item.dispatched or end
            wait, batch = max(wait, dispatched - item.enqueued), max(batch, (item.completed or end) - dispatched)
    return receive * 1000, wait * 1000, batch * 1000
