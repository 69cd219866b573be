"""One request and the answer to it, as the application sees them."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from math import inf
from typing import Protocol
from urllib.parse import unquote, urlsplit

Header = tuple[str, str]
BODILESS = (204, 304)  # RFC 9110, 8.6: their Content-Length would be about something else
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


def lines(headers: Iterable[Header]) -> str:
    """Headers as they go over the wire."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers])


def response_head(status: int, date: str, headers: Iterable[Header], size: int | str, keep_alive: bool) -> str:
    """Everything before the body; `date` is the header line, `size` the body's in bytes."""
    length = "" if status in BODILESS else f"content-length: {size}\r\n"
    end = "\r\n" if keep_alive else "connection: close\r\n\r\n"
    return f"{_STATUS_LINES[status]}{date}{lines(headers)}{length}{end}"


class Wire(Protocol):
    """What an exchange needs of its connection: `date` is the header line of that name."""

    @property
    def date(self) -> str: ...
    def answer(self, exchange: "Exchange", data: bytes) -> None: ...
    def go_on(self) -> None: ...
    def taken(self) -> None: ...


class Exchange:
    """One request and the answer to it.

    Attributes:
        method, path, query, headers: of the request; the path decoded, names of headers in lower case.
        crowded: whether more waited for the server behind this than it can take in time.
        due: monotonic seconds after which a body that has not arrived is waited for no longer.
        begun: whether the application has been called with it.
        task: the application's work on it; cancelled when the client leaves.
        keep_alive: whether the connection goes on after the answer.
        whole: whether all of the body has arrived.
        held: bytes of the body that have arrived and not been taken.
    """

    # A tenth of the proxy's time: what a request is made of is written and read often.
    __slots__ = (
        "__weakref__",
        "_failure",
        "_pieces",
        "_told",
        "_waiter",
        "_wire",
        "begun",
        "crowded",
        "due",
        "headers",
        "held",
        "keep_alive",
        "method",
        "path",
        "query",
        "task",
        "whole",
    )

    def __init__(self, wire: Wire, method: str, target: str, headers: Mapping[str, str]) -> None:
        self._wire, self.method, self.headers = wire, method, headers
        if not target.startswith("/"):  # in absolute form, as a forward proxy would get it
            target = urlsplit(target)._replace(scheme="", netloc="").geturl()
        path, _, self.query = target.partition("?")
        self.path = unquote(path) if "%" in path else path
        self.due, self.keep_alive, self.whole, self.begun = inf, True, False, False
        self.task: asyncio.Task[None] | None = None
        self.held, self.crowded, self._told = 0, False, False
        self._pieces: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._failure: type[Exception] | None = None

    @property
    def ended(self) -> bool:
        """Whether all of the body has arrived and been taken."""
        return self.whole and not self._pieces

    async def piece(self) -> bytes:
        """What has arrived of the body and not been taken, once that is something; empty at the body's end.

        Raises:
            EOFError: the body ended before it was complete, or is no valid HTTP.
            TimeoutError: more of it did not arrive until `due`.
        """
        if not (self._pieces or self.whole or self._failure):
            if not self._told and self.headers.get("expect", "").lower() == "100-continue":
                self._told = True
                self._wire.go_on()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._failure and not self._pieces:
            raise self._failure()  # a new one each time: it knows the frames it passes, and they know this
        piece = b"".join(self._pieces)  # of one piece: itself
        self._pieces.clear()
        self.held = 0
        self._wire.taken()
        return piece

    def respond(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Answer; `headers` go out as they are, beside those that HTTP itself needs."""
        self.keep_alive = self.keep_alive and self.whole
        head = response_head(status, self._wire.date, headers, len(body), self.keep_alive).encode("latin-1")
        self._wire.answer(self, head if self.method == "HEAD" else head + body)

    def arrived(self, piece: bytes) -> None:
        """A piece of the body."""
        self._pieces.append(piece)
        self.held += len(piece)
        self._wake()

    def completed(self) -> None:
        """All of the body has arrived."""
        self.whole = True
        self._wake()

    def failed(self, failure: type[Exception]) -> None:
        """No more of the body will arrive, nor anything else on this connection."""
        self._failure, self.keep_alive = failure, False
        self._wake()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)
