"""The RSGI application: routing, request ids, CORS, and every error turned into its response.

Granian -> App -> endpoint -> Response -> App -> Granian; observers see each request and its response afterwards

RSGI: https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md
"""

import asyncio
import logging
import random
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from math import inf
from time import monotonic
from typing import Any, NamedTuple

from proxy import errors
from proxy.batcher import Item

log = logging.getLogger(__name__)
Headers = tuple[tuple[str, str], ...]
JSON = ("content-type", "application/json")
DISCONNECT_AFTER = 0.5  # seconds of age from which a request has a task that waits for its client's disconnect
DISCARD_SECONDS = 5.0  # for what a client still sends after it was refused
FEW_PIECES = 1000  # a body may come in so many pieces, and one more for each PIECE_BYTES: each takes 40 microseconds
PIECE_BYTES = 256
_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
# version, trace id, parent id, flags; zeros and version ff are invalid (W3C Trace Context)
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_EXPOSED = ("access-control-expose-headers", "X-Request-Id, Retry-After")
_OPEN_TO_ALL = (("access-control-allow-origin", "*"), _EXPOSED)
_METHODS = {"GET": ("GET", "HEAD", "OPTIONS"), "POST": ("POST", "OPTIONS")}  # HEAD: the HTTP server leaves the body out
_HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,1024}")


class State(Enum):
    """Where a request is. In a state of INTERRUPTED its task is cancelled and answers with that error. A task that is
    cancelled in another state answers nothing: the client has left.

    TIMED_OUT: the body stalled. CUT_OFF: the grace of a shutdown is over.
    """

    RECEIVING = auto()
    PREDICTING = auto()
    TIMED_OUT = auto()
    CUT_OFF = auto()


INTERRUPTED: dict[State, Callable[[], errors.ServiceError]] = {
    State.TIMED_OUT: errors.ClientTooSlow,
    State.CUT_OFF: partial(errors.NotReady, errors.Cause.DRAINING),
}


class Request:
    """One request, and what is learnt about it on its way.

    Attributes:
        protocol: Granian's: reads the body and sends the response.
        task: the asyncio task that answers it.
        received, body_read, responded: monotonic seconds; body_read is 0 until it happens.
        body_due: monotonic seconds by which more of the body must have arrived.
        buffered: bytes of the body in memory.
        items: its images that were queued for TorchServe.
        traceparent: the W3C trace context that came with it, for the log; "" for none.
        code, cause: of the error response.
    """

    def __init__(self, scope: Any, protocol: Any, task: asyncio.Task[Any]) -> None:
        self.protocol, self.method, self.path, self.headers = protocol, scope.method, scope.path, scope.headers
        self.query, self.http_version = scope.query_string, scope.http_version
        given = self.headers.get("x-request-id", "")
        self.id = given if _SANE_ID.fullmatch(given) else f"{random.getrandbits(64):016x}"
        given = self.headers.get("traceparent", "")
        self.traceparent = given if _TRACEPARENT.fullmatch(given) else ""
        self.received = self.responded = monotonic()
        self.body_read = 0.0
        self.task = task
        self.disconnect: asyncio.Task[None] | None = None
        self.state, self.body_due, self.buffered = State.RECEIVING, inf, 0
        self.code, self.cause, self.items = "", errors.Cause.NONE, list[Item]()


class Response(NamedTuple):
    """Status, body and headers; request id, CORS and Connection are added to them."""

    status: int
    body: bytes
    headers: Headers = (JSON,)
    closes_connection: bool = False


CLIENT_LEFT = Response(499, b"", ())  # nginx's status for a client that closed the connection; only logged and counted

Endpoint = Callable[[Request], Awaitable[Response]]
Routes = Mapping[str, tuple[str, Endpoint]]  # path -> method, endpoint
Observer = Callable[[Request, Response], None]


class App:
    """Answers requests.

    Args:
        routes: what answers which path, and to which method. GET brings HEAD with it, and both bring OPTIONS.
        origins: whose pages may read the responses; ("*",) for all (https://fetch.spec.whatwg.org).
        observers: called with each request and its response once it is sent.

    Attributes:
        in_flight: the requests that have no response yet.
        closing: whether each response says `Connection: close`.
    """

    def __init__(self, routes: Routes, origins: tuple[str, ...], observers: Sequence[Observer]) -> None:
        self._routes, self._origins, self._observers = routes, frozenset(origins), observers
        self._loop = asyncio.get_running_loop()  # asked once: a system call before Python 3.12
        self.in_flight: set[Request] = set()
        self.closing = False

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        request = Request(scope, protocol, asyncio.current_task(self._loop))  # type: ignore[arg-type]
        self.in_flight.add(request)
        try:
            response = await self._answer(request)
        except asyncio.CancelledError:
            error_of = INTERRUPTED.get(request.state)
            response = _failure(request, error_of()) if error_of else CLIENT_LEFT
        except Exception as error:
            response = _failure(request, error)
        self.in_flight.discard(request)
        if request.disconnect:
            request.disconnect.cancel()
            request.disconnect = None  # else its frame keeps the request until the next garbage collection
        self._respond(request, response)
        if not request.body_read and response is not CLIENT_LEFT:
            await _discard_body(request)

    async def _answer(self, request: Request) -> Response:
        _check_framing(request)
        if request.path not in self._routes:
            raise errors.NotFound()
        method, endpoint = self._routes[request.path]
        allowed = _METHODS[method]
        if request.method not in allowed:
            raise errors.MethodNotAllowed(", ".join(allowed))
        if request.method == "OPTIONS":
            return _preflight(request, ", ".join(allowed))
        return await endpoint(request)

    def _respond(self, request: Request, response: Response) -> None:
        request.responded = monotonic()
        headers = [*response.headers, ("x-request-id", request.id), *self._cors(request)]
        if (self.closing or response.closes_connection) and request.http_version != "2":
            headers.append(("connection", "close"))
        if response is not CLIENT_LEFT:
            request.protocol.response_bytes(response.status, headers, response.body)
        for observe in self._observers:
            observe(request, response)

    def _cors(self, request: Request) -> Headers:
        if "*" in self._origins:
            return _OPEN_TO_ALL
        origin = request.headers.get("origin", "")
        granted = (("access-control-allow-origin", origin), _EXPOSED) if origin in self._origins else ()
        return (("vary", "Origin"), *granted)

    def sweep(self) -> None:
        """End requests whose body stalls, and watch old ones for a disconnect; to be called ten times a second."""
        now = monotonic()
        for request in self.in_flight:
            if now > request.body_due:
                request.body_due, request.state = inf, State.TIMED_OUT
                request.task.cancel()
            elif request.disconnect is None and now - request.received > DISCONNECT_AFTER:
                request.disconnect = asyncio.create_task(_end_on_disconnect(request))

    def cut_off(self) -> None:
        """End the requests in flight."""
        for request in self.in_flight:
            request.state = State.CUT_OFF
            request.task.cancel()


def _check_framing(request: Request) -> None:
    """Refuse what hyper lets pass: RFC 9112 asks for one Host (3.2) and allows chunked once (6.1)."""
    wrong_host = request.http_version == "1.1" and len(request.headers.get_all("host")) != 1
    codings = [coding.lower() for coding in request.headers.get_all("transfer-encoding")]
    if wrong_host or codings not in ([], ["chunked"]):
        raise errors.BadHeader()


def _preflight(request: Request, allowed: str) -> Response:
    """A preflight is granted the headers that it asks for: libraries add headers of their own to every request."""
    asked = request.headers.get("access-control-request-headers", "")
    granted = (("access-control-allow-headers", asked),) if _HEADER_NAMES.fullmatch(asked) else ()
    headers = (("allow", allowed), ("access-control-allow-methods", allowed), *granted)
    vary = ("vary", "Access-Control-Request-Headers")
    return Response(204, b"", (*headers, vary, ("access-control-max-age", "86400")))


async def _discard_body(request: Request) -> None:
    """Drop what a refused client still sends: closing the connection at once would take the response with it."""
    if "content-length" not in request.headers and "transfer-encoding" not in request.headers:
        return
    with suppress(RuntimeError):  # the endpoint has begun to read; what it left is next
        aiter(request.protocol)
    with suppress(RuntimeError, TimeoutError, StopAsyncIteration):  # Granian's RuntimeError: the client has left
        async with asyncio.timeout(DISCARD_SECONDS):
            pieces = size = 0
            while not too_many(pieces, size):
                size += len(await anext(request.protocol))
                pieces += 1


def too_many(pieces: int, size: int) -> bool:
    """Whether a body of `size` bytes comes in so many pieces that it costs others their time."""
    return pieces > FEW_PIECES + size // PIECE_BYTES


async def _end_on_disconnect(request: Request) -> None:
    await request.protocol.client_disconnect()
    request.task.cancel()


def _failure(request: Request, error: Exception) -> Response:
    """What the client is told of it."""
    if not isinstance(error, errors.ServiceError):
        log.exception("request %s failed", request.id, exc_info=error)
        error = errors.InternalError()
    error.with_traceback(None)  # its frames hold the body until the next garbage collection
    request.code, request.cause = error.code, error.cause
    return Response(error.status, error.body(request.id), (JSON, *error.headers), error.closes_connection)
