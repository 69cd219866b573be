"""One line a request, on standard output: JSON for machines, plain text for people; probes and scrapes are left out.

observe: a request -> a line in memory; a thread writes what has gathered, twice a second and at the end. So a slow,
full or closed output costs lines, never answers. Of what was uploaded a line tells the size and nothing else.
"""

import json
import os
import threading
from collections import deque
from datetime import UTC, datetime
from functools import lru_cache
from time import time

from proxy.request import Request, Response

PERIOD = 0.5  # seconds between writes
UNTOLD = frozenset(("/livez", "/readyz", "/metrics"))
MOST = 100_000  # lines kept while the output does not take them
_quoted = lru_cache(1024)(json.dumps)
_second = lru_cache(2)(lambda seconds: datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S"))


class AccessLog:
    """Writes the lines.

    Args:
        form: LOG_FORMAT: json, text, off; auto is text on a terminal and JSON elsewhere.
        descriptor: of the file that the lines go to.

    Attributes:
        lost: lines that could not be written.
    """

    def __init__(self, form: str, descriptor: int = 1) -> None:
        if form == "auto":
            form = "text" if os.isatty(descriptor) else "json"
        self._line = as_text if form == "text" else as_json
        self.observers = [] if form == "off" else [self.observe]
        self._descriptor = descriptor
        self._lines: deque[str] = deque()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="access-log", daemon=True)
        self._thread.start()
        self.lost = 0

    def observe(self, request: Request, response: Response) -> None:
        """Log a request whose response is sent."""
        if request.path in UNTOLD:
            return
        if len(self._lines) < MOST:
            self._lines.append(self._line(request, response))
        else:
            self.lost += 1

    def close(self) -> None:
        """Write what is left; an output that is stuck is given a second."""
        self._closing.set()
        self._thread.join(1)

    def _write(self) -> None:
        closing = torn = False  # torn: the last line came out only in part, or not at all
        while not closing:
            closing = self._closing.wait(PERIOD)
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            data = b"\n" * torn + "".join(lines).encode()
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
                    torn = False
            except OSError:  # disk full, nobody reads: what is not written is gone, the next line begins anew
                self.lost += data.lstrip(b"\n").count(b"\n")
                torn = True


def as_json(request: Request, response: Response) -> str:
    """A line for machines. `ms`: the whole request; until its body had arrived and been parsed, the longest wait for
    a trip and the longest trip, these three 0 where it did not come so far."""
    now = time()
    trace = f', "trace_id": "{request.traceparent[3:35]}"' if request.traceparent else ""
    return _JSON % (
        *(_second(int(now)), now % 1 * 1000, request.id, _quoted(request.method[:256]), _quoted(request.path[:256])),
        *(response.status, request.code, *_hops(request)),
        *(request.size, len(response.body), len(request.uploads), trace),
    )


_JSON = (  # half the time of an f-string's formats
    '{"time": "%s.%03d+00:00", "id": "%s", "method": %s, "path": %s, "status": %d, "code": "%s", '
    '"ms": {"total": %.2f, "arrival": %.2f, "queue": %.2f, "trip": %.2f}, '
    '"bytes": {"in": %d, "out": %d}, "uploads": %d%s}\n'
)


def as_text(request: Request, response: Response) -> str:
    """A line for people."""
    total, _, queue, trip = _hops(request)
    hops = f" (queue {queue:.1f}, trip {trip:.1f})" if request.uploads else ""
    return (
        f"{datetime.now():%H:%M:%S} {response.status} {request.method} "
        f"{_quoted(request.path[:256])[1:-1]} {request.code} "
        f"{total:.1f} ms{hops} {request.size} B in, {len(response.body)} B out, id {request.id}\n"
    )


def _hops(request: Request) -> tuple[float, float, float, float]:
    """Milliseconds: the whole request, until its first upload joined a queue, the longest wait, the longest trip."""
    end = request.responded
    total, arrival, queue, trip = end - request.received, 0.0, 0.0, 0.0
    for upload in request.uploads:
        if upload.joined:  # else it was refused at once
            arrival = arrival or upload.joined - request.received
            left = upload.left or end
            queue, trip = max(queue, left - upload.joined), max(trip, (upload.returned or end) - left)
    return total * 1000, arrival * 1000, queue * 1000, trip * 1000
