"""One client's connection: what llhttp finds in its bytes becomes exchanges, answered in their order.

    head -> Exchange, begun by the application -> body -> answer -> the next head
                                                             \\-> or, where that cannot be, the client is seen off

A client that is refused while it still sends is seen off: the answer goes out, then the end of our stream; what still
comes is dropped for a while, since closing at once resets the connection and takes the answer with it (RFC 9112, 9.6).
"""

import asyncio
from collections import deque
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from http1.exchange import Exchange, lines

if TYPE_CHECKING:
    from http1.server import Server

HEAD_BYTES, TARGET_BYTES, HEADERS = 64 * 1024, 16 * 1024, 100  # most of a request's head
LENGTH_DIGITS = 20  # most of a Content-Length; zeros may lead it, and Python's int() takes no more than 4,300
PIPELINED = 64  # most requests that may have come early
TOO_LONG, TOO_LARGE = HTTPStatus.REQUEST_URI_TOO_LONG, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
HEAD_SECONDS = 15.0  # for the next head to begin, and for it to arrive
DEAF_SECONDS = 60.0  # for a client to take an answer
LINGER_BYTES, LINGER_SECONDS = 64 * 1024 * 1024, 5.0  # most that is dropped of a client that is seen off
BACKLOG = 256 * 1024  # bytes of a body that wait for the application until no more is read
LARGE = 16 * 1024  # bytes; the next chunk after one of more is read once this one has had its turn
LEFT_LOOKS = 3  # until a client that has closed its side while it waits counts as gone: some only say "no more"


class Refused(Exception):
    """A head that is not taken; its one argument is the HTTPStatus that says why."""


class Connection(asyncio.Protocol):
    """One client's connection; the event loop and llhttp call it."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._parser = HttpRequestParser(self)
        self._exchanges: deque[Exchange] = deque()  # the first is being answered, others have come early
        self._reading: Exchange | None = None  # whose body arrives
        self._since = monotonic()  # the last step
        self._left = 0  # looks since the client's end, and one
        self._head = self._dropped = 0  # bytes; head: since a message began or a piece of a body came
        self._deaf = 0.0  # monotonic seconds: since when it has not taken what was written
        self._dropping = self._paused = False
        self._queued = 0  # chunks of data that wait for their turn
        self._waits = False  # a large chunk of data, or the third, for its turn
        self._target = b""
        self._headers: dict[str, str] = {}

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
        if self._exchanges or self._head or self._queued or self._dropping or self._transport.is_closing():
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
        if not self._reading and not self._head:
            self._since = monotonic()
        self._head += len(data)
        try:
            self._parser.feed_data(data)
            if self._head > HEAD_BYTES:
                raise Refused(TOO_LONG if len(self._target) > TARGET_BYTES else TOO_LARGE)
        except HttpParserUpgrade as upgrade:
            self._go_on_without(self._exchanges[-1], data[upgrade.args[0] :])
        except HttpParserCallbackError as error:
            self._refuse(error.__context__)
        except (Refused, HttpParserError) as error:
            self._refuse(error)
        self._begin()

    def _end(self) -> None:
        self._left = 1
        if self._reading:
            self._reading.failed(EOFError)
        if not self._exchanges:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._server.connections.discard(self)
        if self._exchanges and self._exchanges[0].task:
            self._exchanges[0].task.cancel()
        # These and this know each other: they would all stay, bodies included, until the next gc.
        self._exchanges.clear()
        self._reading = None
        del self._parser

    def pause_writing(self) -> None:
        self._deaf = monotonic()
        self.regulate()

    def resume_writing(self) -> None:
        self._deaf = 0.0
        self._begin()
        self.regulate()

    # called by llhttp

    def on_message_begin(self) -> None:
        self._head = self._head or 1  # of the chunk in which the message before it ended

    def on_url(self, target: bytes) -> None:
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading:  # a trailer: nobody asks for it, and the next request's it must not become
            return
        self._headers[name.decode("latin-1").lower()] = value.decode(errors="replace")

    def on_headers_complete(self) -> None:
        self._head = 0
        if self._reading:  # the head that stands for one with an upgrade
            self._target = b""
            return
        if len(self._target) > TARGET_BYTES:
            raise Refused(TOO_LONG)
        if len(self._headers) > HEADERS:
            raise Refused(TOO_LARGE)
        if self._headers.get("transfer-encoding", "chunked").lower() != "chunked":
            raise Refused(HTTPStatus.BAD_REQUEST)
        if len(self._headers.get("content-length", "")) > LENGTH_DIGITS:
            raise Refused(HTTPStatus.BAD_REQUEST)
        if len(self._exchanges) > PIPELINED:
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS)
        method, target = self._parser.get_method().decode(), self._target.decode("latin-1")
        self._reading = Exchange(self, method, target, self._headers)
        self._reading.crowded = self._server.crowded
        goes_on = self._parser.should_keep_alive() and self._parser.get_http_version() != "1.0"
        self._reading.keep_alive = goes_on and method != "CONNECT"  # a tunnel's bytes are no requests
        self._exchanges.append(self._reading)
        self._target, self._headers = b"", {}

    def on_body(self, piece: bytes) -> None:
        self._head = 0
        self._reading.arrived(piece)  # type: ignore[union-attr]
        if self._reading.held > BACKLOG:  # type: ignore[union-attr]
            self.regulate()

    def on_message_complete(self) -> None:
        if self._parser.should_upgrade():  # llhttp takes all that follows for the other protocol's
            return
        self._reading.completed()  # type: ignore[union-attr]
        self._reading, self._head = None, 0
        if self._paused or len(self._exchanges) > 1:
            self.regulate()

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
        full = self._reading is not None and self._reading.held > BACKLOG
        paused = self._waits or ((full or self._deaf > 0 or len(self._exchanges) > 1) and not self._dropping)
        if paused is not self._paused and not self._transport.is_closing():
            self._paused = paused
            self._transport.pause_reading() if paused else self._transport.resume_reading()

    # called by the server

    def look(self, now: float) -> None:
        """End what has taken too long."""
        if (self._deaf or self._transport.is_closing()) and now > max(self._deaf, self._since) + DEAF_SECONDS:
            self._transport.abort()
        elif self._exchanges and self._exchanges[0].begun:
            task = self._exchanges[0].task
            self._left += bool(self._left)
            if not task or task.done():  # without an answer
                self._transport.abort()
            elif self._left > LEFT_LOOKS:
                task.cancel()
            elif self._reading and now > self._reading.due:
                self._reading.failed(TimeoutError)
        elif self._dropping:
            if now > self._since + LINGER_SECONDS:
                self._transport.abort()
        elif now > self._since + HEAD_SECONDS and not (self._deaf or self._transport.is_closing()):
            if self._head:
                self._refuse(Refused(HTTPStatus.REQUEST_TIMEOUT))
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
            exchange.begun = True
            if work := self._server.application(exchange):
                exchange.task = self._server.loop.create_task(work)
        if self._paused:
            self.regulate()

    def _go_on_without(self, exchange: Exchange, data: bytes) -> None:
        """After a head that asks for another protocol, which is not spoken here: a new llhttp, as if it did not."""
        framing = "content-length", "transfer-encoding"
        stands = lines((name, exchange.headers[name]) for name in framing if name in exchange.headers)
        self._parser = HttpRequestParser(self)
        self._feed(f"POST / HTTP/1.1\r\n{stands}\r\n".encode() + data)

    def _refuse(self, error: BaseException | None) -> None:
        """Take no more from this client: tell it, or whoever waits for the rest of a body, or nobody but the end."""
        if self._reading:
            self._reading.failed(EOFError)
        elif self._exchanges:
            self._exchanges[-1].keep_alive = False
        else:
            status = error.args[0] if isinstance(error, Refused) else HTTPStatus.BAD_REQUEST
            head = f"HTTP/1.1 {status} {status.phrase}\r\n{self.date}content-length: 0\r\nconnection: close\r\n\r\n"
            self._transport.write(head.encode())
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
