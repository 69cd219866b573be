"""One line a request, on standard output: JSON for machines, plain text for people; probes and scrapes are left out.

observe: a request -> a line in memory; look, ten times a second -> a block of lines; a thread writes the blocks, twice
a second and at the end. So a slow, full or closed output costs lines, never answers. Of what was uploaded a line tells
the size and nothing else.

The thread does little and seldom: each time it takes its turn at the interpreter all else waits until the system
lets it run, a millisecond or two where the cores are busy.
"""

import json
import os
import threading
from collections import deque
from datetime import UTC, datetime
from functools import lru_cache
from time import time

from proxy.errors import Overloaded
from proxy.glance import PATH, Refusals
from proxy.request import Request, Response

PERIOD = 0.5  # seconds between writes
UNTOLD = frozenset(("/livez", "/readyz", "/metrics"))
MOST = 32 * 1024 * 1024  # bytes of lines kept while the output does not take them
_quoted = lru_cache(1024)(json.dumps)
_time = lru_cache(2)(lambda ms: datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds"))


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
        self._line, self._refusal = (as_text, refusal_as_text) if form == "text" else (as_json, refusal_as_json)
        self.observers = [] if form == "off" else [self.observe]
        self.refusals = [] if form == "off" else [self.refused]
        self._descriptor = descriptor
        self._lines: list[str] = []  # since the last look
        self._blocks: deque[bytes] = deque()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="access-log", daemon=True)
        self._thread.start()
        self.lost = 0

    def observe(self, request: Request, response: Response) -> None:
        """Log a request whose response is sent."""
        if request.path not in UNTOLD:
            self._lines.append(self._line(request, response))

    def refused(self, refusals: Refusals) -> None:
        """Log uploads that were refused at a glance."""
        self._lines.extend([self._refusal(*each) for each in refusals])

    def look(self) -> None:
        """Give the thread what has gathered; to be called ten times a second."""
        if self._lines and sum(map(len, self._blocks)) < MOST:
            self._blocks.append("".join(self._lines).encode())
        else:
            self.lost += len(self._lines)
        self._lines.clear()

    def close(self) -> None:
        """Write what is left; an output that is stuck is given a second."""
        self.look()
        self._closing.set()
        self._thread.join(1)

    def _write(self) -> None:
        closing = torn = False  # torn: the last line came out only in part, or not at all
        while not closing:
            closing = self._closing.wait(PERIOD)
            blocks = [self._blocks.popleft() for _ in range(len(self._blocks))]
            data = memoryview(b"\n" * torn + b"".join(blocks))
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
                    torn = False
            except OSError:  # disk full, nobody reads: what is not written is gone, the next line begins anew
                self.lost += bytes(data).lstrip(b"\n").count(b"\n")
                torn = True


def as_json(request: Request, response: Response) -> str:
    """A line for machines. `ms`: the whole request; until its body had arrived and been parsed, the longest wait for
    a trip and the longest trip, these three 0 where it did not come so far."""
    now = time()
    trace = f', "trace_id": "{request.traceparent[3:35]}"' if request.traceparent else ""
    return _JSON % (
        _time(int(now * 1000)),
        request.id,
        _what(request.method[:256], request.path[:256], response.status, request.code),
        (request.responded - request.received) * 1000,
        _HOPS % _hops(request) if request.uploads else _NO_HOPS,
        request.size,
        len(response.body),
        len(request.uploads),
        trace,
    )


def refusal_as_json(at: float, id: str) -> str:
    """The line of an upload that was refused at a glance."""
    a, b, c, d = _REFUSAL_JSON
    return f"{a}{_time(int(at * 1000))}{b}{id}{c}{_REFUSAL_BYTES + len(id)}{d}"


# `%` takes half the time of an f-string for numbers, twice for words; and what most lines share is formatted once.
_JSON = '{"time": "%s", "id": "%s", %s, "ms": {"total": %.2f, %s}, "bytes": {"in": %d, "out": %s}, "uploads": %d%s}\n'
_TEXT = "%s %d %s %s %s %.1f ms%s %d B in, %d B out, id %s\n"
_HOPS = '"arrival": %.2f, "queue": %.2f, "trip": %.2f'
_NO_HOPS = _HOPS % (0, 0, 0)


@lru_cache(1024)
def _what(method: str, path: str, status: int, code: str) -> str:
    return f'"method": {json.dumps(method)}, "path": {json.dumps(path)}, "status": {status}, "code": "{code}"'


_REFUSAL_BYTES = len(Overloaded().body(""))
_REFUSAL = _what("POST", PATH, Overloaded.status, Overloaded.code)
# What is between the time, the id and the answer's length.
_REFUSAL_JSON = (_JSON % ("%s", "%s", _REFUSAL, 0, _NO_HOPS, 0, "%s", 0, "")).split("%s")


def refusal_as_text(at: float, id: str) -> str:
    """The same for people."""
    return _TEXT % (
        *(f"{datetime.fromtimestamp(at):%H:%M:%S}", Overloaded.status, "POST", PATH, Overloaded.code),
        *(0, "", 0, _REFUSAL_BYTES + len(id), id),
    )


def as_text(request: Request, response: Response) -> str:
    """A line for people."""
    total = (request.responded - request.received) * 1000
    hops = " (queue {1:.1f}, trip {2:.1f})".format(*_hops(request)) if request.uploads else ""
    path = _quoted(request.path[:256])[1:-1]
    return _TEXT % (
        *(f"{datetime.now():%H:%M:%S}", response.status, request.method, path, request.code),
        *(total, hops, request.size, len(response.body), request.id),
    )


def _hops(request: Request) -> tuple[float, float, float]:
    """Milliseconds until its first upload joined a queue, of the longest wait, of the longest trip."""
    end = request.responded
    arrival = queue = trip = 0.0
    for upload in request.uploads:
        if upload.joined:  # else it was refused at once
            arrival = arrival or upload.joined - request.received
            left = upload.left or end
            queue, trip = max(queue, left - upload.joined), max(trip, (upload.returned or end) - left)
    return arrival * 1000, queue * 1000, trip * 1000
