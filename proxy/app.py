"""The application the HTTP server calls: routing, request ids, CORS, and every error turned into its response.

An RSGI application (Granian's interface; chosen over ASGI by measurement, docs/performance.md).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from proxy.errors import InternalError, MethodNotAllowed, NotFound, ServiceError
from proxy.request import JSON, Request, Response

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]
Routes = Mapping[str, Mapping[str, Endpoint]]  # path -> method -> endpoint
Observer = Callable[[Request, Response], None]
Gate = Callable[[Request], None]

DISCONNECT_AFTER = (
    0.05  # seconds until a request that waits is watched for its client's leaving; watching each costs 70 us
)
ALLOWED_HEADERS = "Content-Type, X-Request-Id, X-API-Key, Authorization, Traceparent"
EXPOSED_HEADERS = "X-Request-Id, Retry-After"


class App:
    """Answers requests.

    Args:
        routes: what answers which path and method. HEAD and OPTIONS come by themselves.
        cors_origins: origins whose pages may read the answers; ("*",) for all.
        gates: called with each request before its endpoint; may raise a ServiceError.
        observers: called with each request and its response once it is sent.

    Attributes:
        open: requests being answered at this moment.
    """

    def __init__(
        self,
        routes: Routes,
        cors_origins: tuple[str, ...] = ("*",),
        gates: Iterable[Gate] = (),
        observers: Iterable[Observer] = (),
    ) -> None:
        self._routes, self._origins = routes, frozenset(cors_origins)
        self._gates, self._observers = tuple(gates), tuple(observers)
        self.open = 0

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        request = Request(scope, protocol)
        task = asyncio.current_task()
        watch = asyncio.get_running_loop().call_later(DISCONNECT_AFTER, _watch, protocol, task)
        self.open += 1
        try:
            response = await self._respond(request)
            headers = [*response.headers, ("x-request-id", request.id), *self._cors(request)]
            protocol.response_bytes(response.status, headers, b"" if request.method == "HEAD" else response.body)
        except asyncio.CancelledError:  # the client went away; nobody is left to answer
            response = Response(499, b"")
        finally:
            self.open -= 1
            watch.cancel()
        for observe in self._observers:
            observe(request, response)

    async def _respond(self, request: Request) -> Response:
        try:
            endpoint = self._endpoint(request)
            if request.method != "OPTIONS":
                for gate in self._gates:
                    gate(request)
            return await endpoint(request)
        except ServiceError as error:
            return self._failure(request, error)
        except Exception:
            log.exception("request %s failed on our side", request.id)
            return self._failure(request, InternalError())

    def _endpoint(self, request: Request) -> Endpoint:
        methods = self._routes.get(request.path)
        if methods is None:
            raise NotFound()
        endpoint = methods.get("GET" if request.method == "HEAD" else request.method)
        if endpoint is not None:
            return endpoint
        allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])
        if request.method != "OPTIONS":
            raise MethodNotAllowed(allowed)

        async def preflight(request: Request) -> Response:
            return Response(
                204,
                b"",
                (
                    ("allow", allowed),
                    ("access-control-allow-methods", allowed),
                    ("access-control-allow-headers", ALLOWED_HEADERS),
                    ("access-control-max-age", "86400"),
                ),
            )

        return preflight

    def _failure(self, request: Request, error: ServiceError) -> Response:
        request.code = error.code
        return Response(error.status, error.body(request.id), (JSON, *error.headers))

    def _cors(self, request: Request) -> tuple[tuple[str, str], ...]:
        if "*" in self._origins:
            return ("access-control-allow-origin", "*"), ("access-control-expose-headers", EXPOSED_HEADERS)
        origin = request.headers.get("origin")
        if origin not in self._origins:
            return (("vary", "Origin"),)
        return (
            ("access-control-allow-origin", origin),
            ("access-control-expose-headers", EXPOSED_HEADERS),
            ("vary", "Origin"),
        )


def _watch(protocol: Any, task: "asyncio.Task[None]") -> None:
    """Cancel `task` when its client leaves, so that its place in the queue is free again at once."""

    async def leave() -> None:
        await protocol.client_disconnect()
        task.cancel()

    watching = asyncio.ensure_future(leave())
    task.add_done_callback(lambda _: watching.cancel())
