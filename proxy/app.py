"""The application the HTTP server calls: routing, request ids, and every error turned into its response."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from http1 import Exchange
from proxy.cors import Cors
from proxy.errors import InternalError, MethodNotAllowed, NotFound, ServiceError
from proxy.request import JSON, Request, Response, Routes

log = logging.getLogger(__name__)

Observer = Callable[[Request, Response], None]


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

    async def __call__(self, exchange: Exchange) -> None:
        request = Request(exchange)
        self.open.add(request)
        try:
            response = await self._respond(request)
            headers = [*response.headers, ("x-request-id", request.id), *self._cors.headers(request)]
            exchange.respond(response.status, headers, response.body)
        except asyncio.CancelledError:  # the client went away; nobody is left to answer
            response = Response(499, b"")
        finally:
            self.open.discard(request)
        for observe in self._observers:
            observe(request, response)

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
