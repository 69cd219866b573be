"""Faults of clients: too many, too slow, too large, gone. Others' requests meanwhile are tallied."""

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.load import Case, Connection, Tally, load
from tests.raw_http import Answer, receive, request, upload
from tests.stack import Stack


def peak(stack: Stack, cases: Sequence[Case], seconds: float) -> Tally:
    """As much as 64 clients get answered."""
    with load(stack.port, cases, 64) as tally:
        time.sleep(seconds)
    return tally


def overload(stack: Stack, cases: Sequence[Case], clients: int, seconds: float) -> Tally:
    """More clients than the queue has room for, each asking again a tenth of a second after it was refused."""
    with load(stack.port, cases, clients) as tally:
        time.sleep(seconds)
    return tally


def beside_large_pictures(
    stack: Stack, cases: Sequence[Case], large: Sequence[bytes], seconds: float
) -> tuple[Tally, Counter[int]]:
    """Eight clients with small pictures beside one that loops over large ones; also the statuses that it got."""
    statuses: Counter[int] = Counter()
    with load(stack.port, cases, 8, pause=0.02) as tally:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for picture in large:
                answer = _ask(stack.port, upload(picture))
                statuses[answer.status if answer else 0] += 1
    return tally, statuses


def _ask(port: int, sent: bytes) -> Answer | None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(sent)
        return receive(connection)


@contextmanager
def idle_connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connections on which nothing is ever sent."""
    with contextlib.ExitStack() as held:
        yield [held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60)) for _ in range(count)]


async def _drip(port: int, at_once: bytes, slowly: bytes, seconds: float) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = asyncio.ensure_future(reader.read())
    try:
        async with asyncio.timeout(seconds):
            writer.write(at_once)
            for byte in slowly:
                if (await asyncio.wait({answer}, timeout=1))[0]:
                    break
                writer.write(bytes((byte,)))
            return (await answer)[9:12].decode() or "closed"
    except TimeoutError:
        return "open"
    except ConnectionError:  # a byte was on its way as the connection was closed
        return "closed"
    finally:
        writer.close()


def drip(port: int, at_once: bytes, slowly: bytes, count: int, seconds: float) -> Counter[str]:
    """`count` clients that send the one part at once, the other a byte a second; how each ended within `seconds`.

    The status of the answer after which the connection was closed, "closed" without one, "open" where it was not.
    """

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(_drip(port, at_once, slowly, seconds) for _ in range(count)))

    return Counter(asyncio.run(all_of_them()))


SLOW_HEAD = (b"", request(b"x" * 100))


def slow_body(announced: int) -> tuple[bytes, bytes]:
    """All of the head, then a body of so many bytes that takes for ever."""
    return request(b"", length=announced), b"-" * 200


def leave(port: int, cases: Sequence[Case], count: int) -> None:
    """`count` clients send a picture and go away without waiting for the answer."""
    with contextlib.ExitStack() as held:
        for number in range(count):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            connection.sendall(cases[number % len(cases)].sent)


async def ask_all(port: int, sent: Sequence[bytes]) -> list[Answer | None]:
    """The answers to requests sent one after the other on connections kept alive, eight at a time."""
    turn = iter(enumerate(sent))
    answers: list[Answer | None] = [None] * len(sent)

    async def one() -> None:
        connection = Connection(port)
        for at, bytes_sent in turn:
            try:
                answers[at] = await asyncio.wait_for(connection.ask(bytes_sent), 60)
            except (OSError, EOFError, ValueError):
                connection.close()
        connection.close()

    await asyncio.gather(*(one() for _ in range(8)))
    return answers


def open_with(port: int, sent: bytes, count: int) -> list[socket.socket]:
    """Connections on which this is sent and nothing is read."""
    opened = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(count)]
    for connection in opened:
        connection.sendall(sent)
    return opened
