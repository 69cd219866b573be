"""Closed-loop load that judges every answer: right, refused as the contract declares, wrong, or lost.

Each connection sends its next request once the last is answered. An answer is right when it is the one that this very
picture gets from an idle service; anything that is neither that nor a declared refusal is wrong.
"""

import asyncio
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.raw_http import Answer, exchange, parse_head, upload

SAMPLES = sorted((Path(__file__).parents[1] / "samples").glob("[0-9].png"))
REFUSALS = {503: ("overloaded", "not_ready"), 504: ("deadline_exceeded",), 502: ("model_server_error",)}
CLOSE = 1e-5  # of a probability: sums of another batch size are ordered otherwise


@dataclass(frozen=True)
class Case:
    """What is sent, without its request id, and what it must be answered with."""

    sent: bytes
    status: int
    code: str = ""
    probabilities: tuple[float, ...] = ()

    def with_id(self, request_id: str) -> bytes:
        return self.sent.replace(b"\r\n", b"\r\nX-Request-Id: %s\r\n" % request_id.encode(), 1)

    def right(self, answer: Answer) -> bool:
        if answer.status != self.status or answer.code != self.code:
            return False
        return self.status != 200 or all(
            abs(one - other) <= CLOSE for one, other in zip(probabilities(answer), self.probabilities, strict=True)
        )


def probabilities(answer: Answer) -> tuple[float, ...]:
    return tuple(one["probability"] for one in answer.json["predictions"]["all"])


def sample_cases(port: int) -> list[Case]:
    """The ten sample digits with the answers of an idle service, each checked to name the digit of the file's name."""
    cases = []
    for path in SAMPLES:
        sent = upload(path.read_bytes())
        answer = exchange(port, sent)
        assert answer is not None
        assert answer.status == 200, answer
        assert answer.json["predictions"]["prediction"]["label"] == int(path.stem)
        cases.append(Case(sent, 200, probabilities=probabilities(answer)))
    return cases


@dataclass
class Tally:
    """What became of all requests sent. `seconds`: time to each right answer."""

    sent: int = 0
    right: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def judge(self, case: Case, request_id: str, answer: Answer, seconds: float) -> None:
        if answer.headers.get("x-request-id") == request_id and case.right(answer):
            self.right += 1
            self.seconds.append(seconds)
        elif fault := undeclared(answer, request_id):
            self.wrong.append(f"{fault}: {answer.status} {answer.body[:300]!r}")
        else:
            self.refused[f"{answer.status} {answer.code}"] += 1

    def add(self, other: "Tally") -> None:
        self.sent += other.sent
        self.right += other.right
        self.refused += other.refused
        self.wrong += other.wrong
        self.lost += other.lost
        self.seconds += other.seconds

    def quantile(self, share: float) -> float:
        """Seconds within which this share of the right answers came."""
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))]

    def summary(self) -> dict[str, object]:
        return {
            "sent": self.sent,
            "right": self.right,
            "refused": dict(self.refused),
            "wrong": len(self.wrong),
            "lost": len(self.lost),
        }


def undeclared(answer: Answer, request_id: str) -> str:
    """What is not as the contract says of a refusal; "" where all is."""
    if answer.headers.get("x-request-id") != request_id:
        return "not this request's answer"
    if answer.code not in REFUSALS.get(answer.status, ()):
        return "not a declared refusal"
    if answer.status == 503 and not answer.headers.get("retry-after", "").isdigit():
        return "no Retry-After"
    return "" if answer.json["error"]["request_id"] == request_id else "no request id"


class Connection:
    """One keep-alive connection; opened again where the server closed it between two requests."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None

    async def ask(self, sent: bytes) -> Answer:
        """Raises OSError or EOFError where no answer comes."""
        if self._reader is None or self._reader.at_eof():
            self.close()
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(sent)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status, headers = parse_head(head[:-4])
        body = await self._reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":  # RFC 9112, 9.6
            self.close()
        return Answer(status, headers, body)

    def close(self) -> None:
        if self._reader is not None:
            self._writer.close()
            self._reader = None


async def closed_loop(
    port: int,
    cases: Sequence[Case],
    tally: Tally,
    stop: asyncio.Event,
    patience: float,
    pause: float,
    until_refused: bool,
) -> None:
    """One client: sends the cases in turn until told to stop."""
    connection = Connection(port)
    for case in itertools.cycle(cases):
        if stop.is_set():
            break
        request_id = f"load-{tally.sent}"
        tally.sent += 1
        begun = time.monotonic()
        try:
            answer = await asyncio.wait_for(connection.ask(case.with_id(request_id)), patience)
        except (OSError, EOFError, ValueError) as error:
            tally.lost.append(repr(error))
            connection.close()
            await asyncio.sleep(0.1)
            continue
        tally.judge(case, request_id, answer, time.monotonic() - begun)
        if until_refused and answer.code == "not_ready":
            break
        if answer.status == 503:  # as Retry-After asks, if a little impatient
            await asyncio.sleep(0.1)
        await asyncio.sleep(pause)
    connection.close()


@contextmanager
def load(
    port: int,
    cases: Sequence[Case],
    connections: int,
    patience: float = 100,
    pause: float = 0,
    until_refused: bool = False,
) -> Iterator[Tally]:
    """Load for the time of the block, from a thread of its own; every request is answered or lost when it ends.

    Args:
        patience: seconds until an answer that has not come is lost.
        pause: seconds that each client waits after an answer.
        until_refused: a client goes away for good once it is told that the service stops, as a load balancer does.
    """
    tally = Tally()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def all_of_them() -> None:
        turned = (cases[at % len(cases) :] + cases[: at % len(cases)] for at in range(connections))
        await asyncio.gather(*(closed_loop(port, own, tally, stop, patience, pause, until_refused) for own in turned))

    thread = threading.Thread(target=loop.run_until_complete, args=(all_of_them(),))
    thread.start()
    try:
        yield tally
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def at_once(port: int, cases: Sequence[Case], patience: float = 100) -> Tally:
    """Every case one time, each on a connection of its own, all sent at the same moment."""
    tally = Tally()

    async def one(case: Case, together: asyncio.Barrier) -> None:
        connection = Connection(port)
        request_id = f"one-{tally.sent}"
        tally.sent += 1
        await together.wait()
        begun = time.monotonic()
        try:
            answer = await asyncio.wait_for(connection.ask(case.with_id(request_id)), patience)
            tally.judge(case, request_id, answer, time.monotonic() - begun)
        except (OSError, EOFError) as error:
            tally.lost.append(repr(error))
        connection.close()

    async def all_of_them() -> None:
        together = asyncio.Barrier(len(cases))
        await asyncio.gather(*(one(case, together) for case in cases))

    asyncio.run(all_of_them())
    return tally


def dump(tally: Tally) -> str:
    """For assertion messages."""
    return json.dumps(tally.summary() | {"wrong": tally.wrong[:5], "lost": tally.lost[:5]}, indent=1)
