"""Open loop: uploads leave at a fixed rate whether or not earlier ones are answered, as from many clients.

`python -m bench.open_loop URL RATE SECONDS PICTURES`, a process of its own, prints one JSON object. Latency counts
from when an upload was due, so a generator or a server that falls behind is not flattered. An upload finds an idle
connection or opens one.
"""

import asyncio
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import uvloop

from bench.pictures import read

IN_TIME = 1.0  # seconds; an answer that comes later is counted as late
AFTER = 11.0  # seconds for the last answers: a little over the service's deadline
TICK = 0.001  # seconds between departures
CONNECTIONS = 4096  # most at one time
HEAD = (
    "POST {path} HTTP/1.1\r\nHost: {host}\r\n"
    "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {size}\r\n\r\n"
)
PART = b'--x\r\nContent-Disposition: form-data; name="image"; filename="digit.png"\r\n\r\n'
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_LABEL = re.compile(rb'"prediction": ?\{"class_name": ?"\w+", ?"label": ?(\d)')


@dataclass
class Tally:
    """What became of the uploads: seconds of each answer by outcome."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: str, seconds: float) -> None:
        self.outcomes[outcome] += 1
        self.seconds.setdefault(outcome, []).append(seconds)


class Connection(asyncio.Protocol):
    """One connection: an upload, its answer, the next."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._received = b""
        self.due, self.turn, self.waits = 0.0, 0, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def send(self, turn: int, due: float) -> None:
        """Send upload number `turn`."""
        self.due, self.turn, self.waits, self._received = due, turn, True, b""
        self.transport.write(self._load.uploads[turn])

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head) if found else None
        if length and len(body) >= int(length[1]):
            self.waits = False
            self._load.answered(self, int(head[9:12]), body)

    def connection_lost(self, error: Exception | None) -> None:
        self._load.lost(self)


class Load:
    """Sends uploads at a rate.

    Args:
        url: where to.
        images: the pictures, sent in turn.
        labels: the digit that each is taken for when asked alone; None where any answer is right.
    """

    def __init__(self, url: str, images: list[bytes], labels: list[int] | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        bodies = [PART + image + b"\r\n--x--\r\n" for image in images]
        heads = (HEAD.format(path=parts.path, host=parts.netloc, size=len(body)).encode() for body in bodies)
        self.uploads = [head + body for head, body in zip(heads, bodies, strict=True)]
        self._labels = labels
        self.tally = Tally()
        self._idle: list[Connection] = []
        self._open = 0

    def answered(self, connection: Connection, status: int, body: bytes) -> None:
        """Count an answer; its connection is free again."""
        seconds = monotonic() - connection.due
        self.tally.add(self._outcome(connection.turn, status, body, seconds), seconds)
        if not connection.transport.is_closing():
            self._idle.append(connection)

    def _outcome(self, turn: int, status: int, body: bytes, seconds: float) -> str:
        if status != 200:
            return "refused" if status == 503 else f"status {status}"
        label = _LABEL.search(body)
        if not label or (self._labels and int(label[1]) != self._labels[turn]):
            return "wrong"
        return "good" if seconds <= IN_TIME else "late"

    def lost(self, connection: Connection) -> None:
        """Count an upload whose connection ended."""
        self._open -= 1
        if connection in self._idle:
            self._idle.remove(connection)
        if connection.waits:
            self.tally.add("connection lost", monotonic() - connection.due)

    async def run(self, rate: float, seconds: float) -> Tally:
        """Send `rate` uploads a second for `seconds`, then wait for the answers."""
        begun, sent, total = monotonic(), 0, int(rate * seconds)
        opening: set[asyncio.Task[None]] = set()
        while sent < total:
            while sent < min(total, int((monotonic() - begun) * rate)):
                self._send(sent, begun + sent / rate, opening)
                sent += 1
            await asyncio.sleep(TICK)
        until = monotonic() + AFTER
        while sum(self.tally.outcomes.values()) < total and monotonic() < until:
            await asyncio.sleep(0.01)
        self.tally.outcomes["unanswered"] += total - sum(self.tally.outcomes.values())
        return self.tally

    def _send(self, number: int, due: float, opening: set[asyncio.Task[None]]) -> None:
        turn = number % len(self.uploads)
        if self._idle:
            self._idle.pop().send(turn, due)
        elif self._open < CONNECTIONS:
            self._open += 1
            task = asyncio.ensure_future(self._first(turn, due))
            opening.add(task)
            task.add_done_callback(opening.discard)
        else:
            self.tally.add("no connection left", 0.0)

    async def _first(self, turn: int, due: float) -> None:
        try:
            _, made = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self), self._host, self._port
            )
        except OSError:
            self._open -= 1
            self.tally.add("not connected", monotonic() - due)
            return
        made.send(turn, due)


def summary(tally: Tally, rate: float, seconds: float) -> dict:
    """Rates by outcome, 1/s, and percentiles of latency in ms."""
    result: dict = {"offered": rate, "seconds": seconds}
    for outcome, count in sorted(tally.outcomes.items()):
        if not count:
            continue
        ranked = sorted(tally.seconds.get(outcome, [float("nan")]))
        p50, p99 = (round(ranked[int(len(ranked) * share)] * 1000, 1) for share in (0.5, 0.99))
        result[outcome] = {"rate": round(count / seconds, 1), "p50": p50, "p99": p99}
    return result


def main() -> None:
    url, rate, seconds, file = sys.argv[1:5]
    labels = json.loads(Path(sys.argv[5]).read_text()) if len(sys.argv) > 5 else None
    load = Load(url, read(Path(file)), labels)
    tally = uvloop.run(load.run(float(rate), float(seconds)))
    print(json.dumps(summary(tally, float(rate), float(seconds))))


if __name__ == "__main__":
    main()
