"""Posts to a server over connections that stay open; an answer is there in the loop's turn that brings it."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping

from httptools import HttpParserError, HttpResponseParser

from http1.exchange import lines

Address = tuple[str, int]
Answer = tuple[int, bytes]


class Unreachable(OSError):
    """No connection could be opened."""


class Client:
    """Connections to any number of servers; who waits for an answer has one to itself."""

    def __init__(self) -> None:
        self._free: defaultdict[Address, list[_Link]] = defaultdict(list)

    async def post(self, address: Address, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Status and body of the answer.

        Raises:
            Unreachable: as its name says.
            OSError: the connection broke.
            ValueError: what came back is no HTTP.
        """
        link = await self._link(address)
        more = lines((("host", f"{address[0]}:{address[1]}"), *headers.items(), ("content-length", str(len(body)))))
        head = f"POST {path} HTTP/1.1\r\n{more}\r\n"
        try:
            return await link.send(head.encode("latin-1") + body)
        finally:  # unless it is cancelled or failed: what comes on such a connection would be taken for the next answer
            if link.stays:
                self._free[address].append(link)
            else:
                link.transport.abort()

    async def _link(self, address: Address) -> "_Link":
        free = self._free[address]
        while free:
            if not (link := free.pop()).transport.is_closing():
                return link
        try:
            return (await asyncio.get_running_loop().create_connection(_Link, *address))[1]
        except OSError as error:
            raise Unreachable(*error.args) from error

    def close(self) -> None:
        """Close the connections that nobody uses."""
        for links in self._free.values():
            for link in links:
                link.transport.close()


class _Link(asyncio.Protocol):
    """One connection; `stays` once its answer has come whole and the server keeps it open."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._parser = HttpResponseParser(self)
        self.stays = True

    def send(self, data: bytes) -> asyncio.Future[Answer]:
        self.stays, self._pieces = False, list[bytes]()
        self._answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return self._answer

    def data_received(self, data: bytes) -> None:
        if self.stays:  # nobody asked
            self.transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._end(ValueError(f"no HTTP: {error}"))

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        self.stays = self._parser.should_keep_alive() and not self._answer.done()  # else this is more than was asked
        if not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), b"".join(self._pieces)))

    def connection_lost(self, error: Exception | None) -> None:
        del self._parser  # it knows this, and this it: both would stay until the next gc
        if not self.stays:
            self._end(error or ConnectionResetError("closed before the answer was complete"))

    def _end(self, error: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)
