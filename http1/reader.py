"""What one client's bytes say: llhttp finds the requests in them, and each becomes an exchange.

bytes -> llhttp (httptools) -> head -> Exchange -> body, piece by piece -> the next head
"""

from collections import deque
from http import HTTPStatus

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from http1.exchange import Exchange, Wire, lines

HEAD_BYTES, TARGET_BYTES, HEADERS = 64 * 1024, 16 * 1024, 100  # most of a request's head
LENGTH_DIGITS = 20  # most of a Content-Length; zeros may lead it, and Python's int() takes no more than 4,300
PIPELINED = 64  # most requests that may have come early
TOO_LONG, TOO_LARGE = HTTPStatus.REQUEST_URI_TOO_LONG, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


class Refused(Exception):
    """Bytes that are not taken; `status` says why."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


def _refusal(cause: BaseException | None) -> Refused:
    """What was raised below, where llhttp itself had nothing against it."""
    return cause if isinstance(cause, Refused) else Refused(HTTPStatus.BAD_REQUEST)


class Reader:
    """Finds requests in what it is fed.

    Args:
        wire: what the exchanges are answered through.
        exchanges: where they go as soon as their head is complete.

    Attributes:
        exchange: the one whose body arrives.
        head: bytes since a message began or a piece of its body came; where it is 0 and no body arrives, nothing of a
            request does.
    """

    def __init__(self, wire: Wire, exchanges: deque[Exchange]) -> None:
        self._wire, self._exchanges = wire, exchanges
        self._parser = HttpRequestParser(self)
        self.exchange: Exchange | None = None
        self.head = 0
        self._target = b""
        self._headers: dict[str, str] = {}

    def feed(self, data: bytes) -> None:
        """Take what has come; raises Refused where it is no request, or more of one than is taken."""
        self.head += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._go_on_without(self._exchanges[-1], data[upgrade.args[0] :])
        except HttpParserError as error:
            raise _refusal(error.__context__) from None
        if self.head > HEAD_BYTES:
            raise Refused(TOO_LONG if len(self._target) > TARGET_BYTES else TOO_LARGE)

    def close(self) -> None:
        """Let go of all that knows this."""
        self.exchange = None
        del self._parser, self._wire

    def _go_on_without(self, exchange: Exchange, data: bytes) -> None:
        """After a head that asks for another protocol, which is not spoken here: a new llhttp, as if it did not."""
        framing = "content-length", "transfer-encoding"
        stands = lines((name, exchange.headers[name]) for name in framing if name in exchange.headers)
        self._parser = HttpRequestParser(self)
        self.feed(f"POST / HTTP/1.1\r\n{stands}\r\n".encode() + data)

    # called by llhttp

    def on_message_begin(self) -> None:
        self.head = self.head or 1  # of the chunk in which the message before it ended

    def on_url(self, target: bytes) -> None:
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.exchange:  # a trailer: nobody asks for it, and the next request's it must not become
            return
        self._headers[name.decode("latin-1").lower()] = value.decode(errors="replace")

    def on_headers_complete(self) -> None:
        self.head = 0
        target, headers, self._target, self._headers = self._target, self._headers, b"", {}
        if self.exchange:  # the head that stands for one with an upgrade
            return
        if len(target) > TARGET_BYTES:
            raise Refused(TOO_LONG)
        if len(headers) > HEADERS:
            raise Refused(TOO_LARGE)
        if headers.get("transfer-encoding", "chunked").lower() != "chunked":
            raise Refused(HTTPStatus.BAD_REQUEST)
        if len(headers.get("content-length", "")) > LENGTH_DIGITS:
            raise Refused(HTTPStatus.BAD_REQUEST)
        if len(self._exchanges) > PIPELINED:
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS)
        method = self._parser.get_method().decode()
        self.exchange = Exchange(self._wire, method, target.decode("latin-1"), headers)
        goes_on = self._parser.should_keep_alive() and self._parser.get_http_version() != "1.0"
        self.exchange.keep_alive = goes_on and method != "CONNECT"  # a tunnel's bytes are no requests
        self._exchanges.append(self.exchange)

    def on_body(self, piece: bytes) -> None:
        self.head = 0
        self.exchange.arrived(piece)  # type: ignore[union-attr]

    def on_message_complete(self) -> None:
        if not self._parser.should_upgrade():  # llhttp takes all that follows for the other protocol's
            self.exchange.completed()  # type: ignore[union-attr]
            self.exchange, self.head = None, 0
