"""The application the HTTP server calls: routing, request ids, and every error turned into its response."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from time import monotonic
from typing import Any

from http1 import Exchange
from proxy.cors import Cors
from proxy.errors import InternalError, MethodNotAllowed, NotFound, ServiceError
from proxy.request import JSON, Endpoint, Gate, Request, Response, Routes

log = logging.getLogger(__name__)

Observer = Callable[[Request, Response], None]
Gates = Mapping[Endpoint, Sequence[Gate]]


class App:
    """Answers requests.

    Args:
        routes: what answers which path and method.
        cors: which pages may read the answers.
        gates: what must let a request pass before its endpoint; raises a ServiceError where it does not.
        observers: called with each request and its response once it is sent.

    Attributes:
        open: the requests being answered at this moment.
    """

    def __init__(self, routes: Routes, cors: Cors, gates: Gates, observers: Sequence[Observer]) -> None:
        self._routes, self._cors, self._gates, self._observers = routes, cors, gates, observers
        self.open: set[Request] = set()

    def __call__(self, exchange: Exchange) -> Coroutine[Any, Any, None] | None:
        """Refuse at once, since refusing must be cheap; else the work that answers."""
        request = Request(exchange)
        try:
            methods = self._routes.get(request.path, {})
            endpoint = methods.get(request.method)
            if endpoint is None:
                raise MethodNotAllowed(", ".join(methods)) if methods else NotFound()
            for gate in self._gates.get(endpoint, ()):
                gate(request)
        except Exception as error:
            self._respond(request, _failure(request, error))
            return None
        return self._answer(request, endpoint)

    async def _answer(self, request: Request, endpoint: Endpoint) -> None:
        self.open.add(request)
        try:
            response = await endpoint(request)
        except asyncio.CancelledError:  # the client went away; nobody is left to answer
            response = Response(499, b"")
        except Exception as error:
            response = _failure(request, error)
        finally:
            self.open.discard(request)
        self._respond(request, response)

    def _respond(self, request: Request, response: Response) -> None:
        request.responded = monotonic()
        if response.status != 499:
            headers = [*response.headers, ("x-request-id", request.id), *self._cors.headers(request.headers)]
            request.exchange.respond(response.status, headers, response.body)
        for observe in self._observers:
            observe(request, response)


def _failure(request: Request, error: Exception) -> Response:
    """What the client is told of it."""
    if not isinstance(error, ServiceError):
        log.exception("request %s failed on our side", request.id)
        error = InternalError()
    error.with_traceback(None)  # its frames hold it, and the body: until the next gc
    request.code = error.code
    return Response(error.status, error.body(request.id), (JSON, *error.headers))
