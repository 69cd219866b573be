"""The application the HTTP server calls: routing, request ids, and every error turned into its response.

An RSGI application (Granian's interface; chosen over ASGI by measurement, docs/performance.md).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from granian.rsgi import ProtocolClosed

from proxy.cors import Cors
from proxy.errors import InternalError, MethodNotAllowed, NotFound, ServiceError
from proxy.request import JSON, Request, Response, Routes

log = logging.getLogger(__name__)

Observer = Callable[[Request, Response], None]

AT_ONCE = 64 * 1024  # bytes of a body that the HTTP server takes off the wire by itself
LINGER_BYTES, LINGER_SECONDS = 64 * 1024 * 1024, 5.0  # most of a refused body that is still taken off the wire


class App:
    """Answers requests.

    Args:
        routes: what answers which path and method.
        cors: which pages may read the answers.
        observers: called with each request and its response once it is sent.

    Attributes:
        open: the requests being answered at this moment.
    """

    def __init__(self, routes: Routes, cors: Cors, observers: Sequence[Observer] = ()) -> None:
        self._routes, self._cors, self._observers = routes, cors, observers
        self.open: set[Request] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        self._loop = self._loop or asyncio.get_running_loop()  # asked once: a system call before Python 3.12
        request = Request(scope, protocol, asyncio.current_task(self._loop))
        self.open.add(request)
        try:
            response = await self._respond(request)
            headers = [*response.headers, ("x-request-id", request.id), *self._cors.headers(request)]
            protocol.response_bytes(response.status, headers, b"" if request.method == "HEAD" else response.body)
        except asyncio.CancelledError:  # the client went away; nobody is left to answer
            response = Response(499, b"")
        finally:
            self.open.discard(request)
        for observe in self._observers:
            observe(request, response)
        if request.unread > AT_ONCE and response.status not in (408, 499):
            await _linger(request)

    async def _respond(self, request: Request) -> Response:
        try:
            methods = self._routes.get(request.path, {})
            endpoint = methods.get(request.method)
            if endpoint is None:
                raise MethodNotAllowed(", ".join(methods)) if methods else NotFound()
            return await endpoint(request)
        except ServiceError as error:
            failure = error.with_traceback(None)  # its frames hold it, and the body: until the next gc
        except Exception:
            log.exception("request %s failed on our side", request.id)
            failure = InternalError()
        request.code = failure.code
        return Response(failure.status, failure.body(request.id), (JSON, *failure.headers))


async def _linger(request: Request) -> None:
    """Take and drop what a refused client still sends: whose connection is closed meanwhile never reads the answer."""
    dropped = 0
    with suppress(TimeoutError, asyncio.CancelledError, ProtocolClosed):
        async with asyncio.timeout(LINGER_SECONDS):
            while dropped < LINGER_BYTES and (piece := await request.piece()):
                dropped += len(piece)
