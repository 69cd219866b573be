"""Listens, and looks at all connections now and then: a timer for each would be a tenth of the work."""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from time import monotonic
from typing import Any

from http1.connection import Connection
from http1.exchange import Exchange

log = logging.getLogger(__name__)
BACKLOG = 4096  # connections that may wait to be taken
CROWD = 384  # bodies that wait for their turn: more comes than is done, and what comes next would wait too long
HEAD = 4096  # bytes at the beginning of a chunk in which the end of a head is looked for
SLICE = 32  # chunks of data that are taken in one turn of the loop
Application = Callable[[Exchange], Coroutine[Any, Any, None] | None]
Glance = Callable[[bytes, bool, str], bytes | None]


class Server:
    """Serves one application; made inside the event loop that it runs in.

    Args:
        application: called with each exchange; answers it at once, or gives the work that will, unless it is cancelled.
        most: connections at one time; those beyond are closed at once.
        glance: shown what comes first of a request, not parsed yet, whether the server is crowded, and the date as a
            header line; the answer, where this is a whole request that is answered without parsing. Asked in its turn
            and, in a crowd, as it comes.

    Attributes:
        connections: those that are open.
        date: the header line, right to the second.
        listener: the socket, once it listens.
    """

    def __init__(self, application: Application, most: int = 8192, glance: Glance = lambda *_: None) -> None:
        self.application, self.most, self.glance = application, most, glance
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self._accepting: set[asyncio.Task[Any]] = set()
        self._shut = False
        self._inbox: deque[tuple[Connection, bytes, bool]] = deque()
        self._bodies = 0  # in the inbox
        self._looks = 0
        self.look()

    def listen(self, host: str, port: int) -> None:
        """Take connections from now on. Raises OSError where that cannot be."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.take(socket.create_server((host, port), family=family, backlog=BACKLOG))

    def take(self, *listeners: socket.socket) -> None:
        """Take the connections of these sockets from now on."""
        self.listener, self._listeners = listeners[0], listeners
        for listener in listeners:
            listener.setblocking(False)
            self.loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        """Take all who wait: uvloop's own server takes one a turn of the loop, and in a crowd a turn takes long."""
        for _ in range(BACKLOG):
            try:
                client = listener.accept()[0]
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptors left, say
                log.warning("cannot take a connection: %s", error.strerror)
                for each in self._listeners:  # until the next look
                    self.loop.remove_reader(each)
                self._shut = True
                return
            task = self.loop.create_task(self.loop.connect_accepted_socket(lambda: Connection(self), client))
            self._accepting.add(task)
            task.add_done_callback(self._accepting.discard)

    @property
    def crowded(self) -> bool:
        """Whether more comes than is done. Heads alone and the bytes of slow clients are done in no time."""
        return self._bodies > CROWD

    def enqueue(self, connection: Connection, data: bytes) -> None:
        """Let the connection take the data in its turn."""
        if not self._inbox:
            self.loop.call_soon(self._work)
        body = bool(data[:HEAD].partition(b"\r\n\r\n")[2])  # something follows a head, the request's or a part's
        self._bodies += body
        self._inbox.append((connection, data, body))

    def _work(self) -> None:
        """Some of what has come. All at once would keep everything else waiting that the loop has to do, in a crowd."""
        for _ in range(min(SLICE, len(self._inbox))):
            connection, data, body = self._inbox.popleft()
            self._bodies -= body
            try:
                connection.take(data)
            except Exception:
                log.exception("a connection failed on our side")
                connection.abort()
        if self._inbox:
            self.loop.call_soon(self._work)

    def look(self) -> None:
        """End what has taken too long; to be called ten times a second."""
        self.date = f"date: {formatdate(usegmt=True)}\r\n"
        if self._shut:
            self._shut = False
            self.take(*self._listeners)
        self._looks += 1
        if self._looks % 2:  # the other half of the time; there may be thousands
            now = monotonic()
            for connection in tuple(self.connections):
                connection.look(now)

    async def stop(self, seconds: float = 1.0) -> None:
        """Take no more connections, and close those there are; whoever has not taken its answer by then loses it."""
        for listener in self._listeners:
            self.loop.remove_reader(listener)
            listener.close()
        for connection in tuple(self.connections):
            connection.close()
        end = monotonic() + seconds
        while self.connections and monotonic() < end:
            await asyncio.sleep(0.01)
        for connection in tuple(self.connections):
            connection.abort()
