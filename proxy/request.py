"""One request and one response, as the endpoints see them."""

import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from math import inf
from time import monotonic
from typing import Any, NamedTuple

from proxy.lane import Upload
from proxy.trip import DETAILS

Headers = tuple[tuple[str, str], ...]
JSON = ("content-type", "application/json")
_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
# version, trace id, parent id, flags; zeros and version ff are invalid (W3C Trace Context)
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Request:
    """What came in, and what is learnt about it on its way; observers read it once the response is sent.

    Attributes:
        scope, protocol: the RSGI request (method, path, headers; the body).
        task: answers it; cancelled when the client is too slow or has left.
        received: monotonic seconds.
        due: monotonic seconds at which `late` is set and the task cancelled; infinity when nothing is due.
        watched: whether somebody looks out for the client's leaving.
        size: bytes of the body that are held.
        unread: bytes of the body that may still be under way.
        uploads: what travelled to TorchServe for it.
        flag: what its pictures travel with: trip.DETAILS where the query says `details=1`, else 0.
        traceparent: the W3C trace context that came with it, "" for none.
        code: error code of the response, "" for success.
    """

    def __init__(self, scope: Any, protocol: Any, task: Any = None) -> None:
        self.scope, self.protocol = scope, protocol
        self.method, self.path = scope.method, scope.path
        self.headers = scope.headers
        given = self.headers.get("x-request-id", "")
        self.id = given if _SANE_ID.fullmatch(given) else f"{random.getrandbits(64):016x}"
        given = self.headers.get("traceparent", "")
        self.traceparent = given if given and _TRACEPARENT.fullmatch(given) else ""
        self.flag = DETAILS if "details=1" in scope.query_string.split("&") else 0
        self.task = task
        self.received = monotonic()
        self.due, self.late, self.watched = inf, False, False
        self.unread = inf if "transfer-encoding" in self.headers else int(self.headers.get("content-length", 0))
        self._pieces: AsyncIterator[bytes] | None = None
        self.uploads: list[Upload] = []
        self.size, self.code = 0, ""

    async def piece(self) -> bytes:
        """The next piece of the body, empty at its end."""
        self._pieces = self._pieces or aiter(self.protocol)
        try:
            return await anext(self._pieces)  # with a default it could not be cancelled
        except StopAsyncIteration:
            return b""


class Response(NamedTuple):
    status: int
    body: bytes
    headers: Headers = (JSON,)


Endpoint = Callable[[Request], Awaitable[Response]]
Routes = Mapping[str, Mapping[str, Endpoint]]  # path -> method -> endpoint
