"""Listens, and looks at all connections now and then: a timer for each would be a tenth of the work."""

import asyncio
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from time import monotonic
from typing import Any

from http1.connection import Connection
from http1.exchange import Exchange

Application = Callable[[Exchange], Coroutine[Any, Any, None]]


class Server:
    """Serves one application; made inside the event loop that it runs in.

    Args:
        application: called with each exchange; answers it, whatever happens, unless it is cancelled.
        most: connections at one time; those beyond are closed at once.

    Attributes:
        connections: those that are open.
        date: the header line, right to the second.
    """

    def __init__(self, application: Application, most: int = 8192) -> None:
        self.application, self.most = application, most
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.look()

    async def listen(self, host: str, port: int) -> None:
        """Take connections from now on. Raises OSError where that cannot be."""
        self._server = await self.loop.create_server(lambda: Connection(self), host, port, backlog=8192)

    def look(self) -> None:
        """End what has taken too long; to be called ten times a second."""
        self.date = f"date: {formatdate(usegmt=True)}\r\n"
        now = monotonic()
        for connection in tuple(self.connections):
            connection.look(now)

    async def stop(self, seconds: float = 1.0) -> None:
        """Take no more connections, and close those there are; whoever has not taken its answer by then loses it."""
        self._server.close()
        for connection in tuple(self.connections):
            connection.close()
        end = monotonic() + seconds
        while self.connections and monotonic() < end:
            await asyncio.sleep(0.01)
        for connection in tuple(self.connections):
            connection.abort()
