"""One client's connection: the exchanges in its bytes are answered in their order, and what takes too long is ended.

    bytes -> Reader -> Exchange, begun by the application -> answer -> the next one
                                                                \\-> or, where that cannot be, the client is seen off

A client that is refused while it still sends is seen off: the answer goes out, then the end of our stream; what still
comes is dropped for a while, since closing at once resets the connection and takes the answer with it (RFC 9112, 9.6).
"""

import asyncio
from collections import deque
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING

from http1.exchange import Exchange, response_head
from http1.reader import Reader, Refused

if TYPE_CHECKING:
    from http1.server import Server

HEAD_SECONDS = 15.0  # for the next head to begin, and for it to arrive
DEAF_SECONDS = 60.0  # for a client to take an answer
LINGER_BYTES, LINGER_SECONDS = 64 * 1024 * 1024, 5.0  # most that is dropped of a client that is seen off
BACKLOG = 256 * 1024  # bytes of a body that wait for the application until no more is read
LARGE = 16 * 1024  # bytes; the next chunk after one of more is read once this one has had its turn
LEFT_LOOKS = 3  # until a client that has closed its side while it waits counts as gone: some only say "no more"


class Connection(asyncio.Protocol):
    """One client's connection; the event loop calls it."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._exchanges: deque[Exchange] = deque()  # the first is being answered, others have come early
        self._reader = Reader(self, self._exchanges)
        self._since = monotonic()  # the last step
        self._left = 0  # looks since the client's end, and one
        self._dropped = 0  # bytes
        self._deaf = 0.0  # monotonic seconds: since when it has not taken what was written
        self._dropping = self._paused = False
        self._queued = 0  # chunks of data that wait for their turn
        self._waits = False  # a large chunk of data, or the third, for its turn

    # called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._server.connections.add(self)
        if len(self._server.connections) > self._server.most:
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self._server.crowded and self._at_a_glance(data):
            return
        if len(data) > LARGE or self._queued > 1:
            self._waits = True
            self.regulate()
        self._enqueue(data)

    def eof_received(self) -> bool:
        self._enqueue(b"")
        return True  # the transport stays open: there may be something to say

    def _enqueue(self, data: bytes) -> None:
        self._queued += 1
        self._server.enqueue(self, data)

    def take(self, data: bytes) -> None:
        """Take what has come, in its turn; empty: the end."""
        self._queued -= 1
        if self._transport.is_closing():
            return
        if not data:
            self._end()
        elif not self._at_a_glance(data):
            self._feed(data)
        if self._waits:
            self._waits = False
            self.regulate()

    def _at_a_glance(self, data: bytes) -> bool:
        """Whether this is a request that is answered without parsing, and now has been."""
        if self._exchanges or self._reader.head or self._queued or self._dropping or self._transport.is_closing():
            return False
        answer = self._server.glance(data, self._server.crowded, self._server.date)
        if answer:
            self._transport.write(answer)
            self._since = monotonic()
        return bool(answer)

    def _feed(self, data: bytes) -> None:
        if self._dropping:
            self._drop(len(data))
            return
        if not (self._reader.exchange or self._reader.head):
            self._since = monotonic()
        try:
            self._reader.feed(data)
        except Refused as refused:
            self._refuse(refused.status)
        self._begin()

    def _end(self) -> None:
        self._left = 1
        if self._reader.exchange:
            self._reader.exchange.failed(EOFError)
        if not self._exchanges:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._server.connections.discard(self)
        if self._exchanges and self._exchanges[0].task:
            self._exchanges[0].task.cancel()
        # These and this know each other: they would all stay, bodies included, until the next gc.
        self._exchanges.clear()
        self._reader.close()

    def pause_writing(self) -> None:
        self._deaf = monotonic()
        self.regulate()

    def resume_writing(self) -> None:
        self._deaf = 0.0
        self._begin()

    # called by the exchange

    @property
    def date(self) -> str:
        """The header line."""
        return self._server.date

    def go_on(self) -> None:
        """Tell a client that waits for it to send the body."""
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def answer(self, exchange: Exchange, data: bytes) -> None:
        """Send the answer to the first exchange, and begin the next."""
        if not self._exchanges:  # the client has left
            return
        self._transport.write(data)
        self._since = monotonic()
        self._exchanges.popleft()
        if not exchange.keep_alive or (self._left and not self._exchanges):
            self._see_off(at_once=exchange.whole and not self._dropping)
        elif self._exchanges and exchange.task:
            self._left = min(self._left, 1)
            self._begin()

    def taken(self) -> None:
        """A piece of a body has been taken."""
        if self._paused:
            self.regulate()

    def regulate(self) -> None:
        """Read only while there is room for what comes."""
        reading = self._reader.exchange
        full = reading is not None and reading.held > BACKLOG
        paused = self._waits or ((full or self._deaf > 0 or len(self._exchanges) > 1) and not self._dropping)
        if paused is not self._paused and not self._transport.is_closing():
            self._paused = paused
            self._transport.pause_reading() if paused else self._transport.resume_reading()

    # called by the server

    def look(self, now: float) -> None:
        """End what has taken too long."""
        untaken = self._deaf > 0 or self._transport.is_closing()  # what was written
        if untaken and now > max(self._deaf, self._since) + DEAF_SECONDS:
            self._transport.abort()
        elif self._exchanges and self._exchanges[0].begun:
            task = self._exchanges[0].task
            if self._left:
                self._left += 1
            if not task or task.done():  # without an answer
                self._transport.abort()
            elif self._left > LEFT_LOOKS:
                task.cancel()
            elif (reading := self._reader.exchange) and now > reading.due:
                reading.failed(TimeoutError)
        elif self._dropping:
            if now > self._since + LINGER_SECONDS:
                self._transport.abort()
        elif now > self._since + HEAD_SECONDS and not untaken:
            if self._reader.head:
                self._refuse(HTTPStatus.REQUEST_TIMEOUT)
            else:
                self._transport.close()

    def close(self) -> None:
        """Close it once what was written has gone out."""
        self._transport.close()

    def abort(self) -> None:
        """Close it now."""
        self._transport.abort()

    def _begin(self) -> None:
        """Let the application answer the first exchange, where it does not yet, and where the last answer is taken."""
        while self._exchanges and not self._exchanges[0].begun and not self._deaf and not self._transport.is_closing():
            exchange = self._exchanges[0]
            exchange.begun, exchange.crowded = True, self._server.crowded
            if work := self._server.application(exchange):
                exchange.task = self._server.loop.create_task(work)
        if self._paused or self._reader.exchange or len(self._exchanges) > 1:
            self.regulate()

    def _refuse(self, status: HTTPStatus) -> None:
        """Take no more from this client: tell it, or whoever waits for the rest of a body, or nobody but the end."""
        if self._reader.exchange:
            self._reader.exchange.failed(EOFError)
        elif self._exchanges:
            self._exchanges[-1].keep_alive = False
        else:
            self._transport.write(response_head(status, self.date, (), 0, keep_alive=False).encode())
            self._since = monotonic()
            self._see_off(at_once=False)
        self._dropping = True

    def _see_off(self, at_once: bool) -> None:
        if at_once or self._left or self._transport.is_closing():
            self._transport.close()
        else:
            self._dropping = True
            self.regulate()
            self._transport.write_eof()

    def _drop(self, size: int) -> None:
        self._dropped += size
        if self._dropped > LINGER_BYTES:
            self._transport.abort()
