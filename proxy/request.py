"""One request and one response, as the endpoints see them."""

import random
import re
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import NamedTuple

from http1 import Exchange
from proxy.lane import Upload
from proxy.trip import DETAILS

Headers = tuple[tuple[str, str], ...]
JSON = ("content-type", "application/json")
SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
# version, trace id, parent id, flags; zeros and version ff are invalid (W3C Trace Context)
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Request:
    """What came in, and what is learnt about it on its way; observers read it once the response is sent.

    Attributes:
        exchange: the HTTP request and the way to answer it; its body.
        received, responded: monotonic seconds.
        size: bytes of the body that are held.
        uploads: what travelled to TorchServe for it.
        flag: what its pictures travel with: trip.DETAILS where the query says `details=1`, else 0.
        traceparent: the W3C trace context that came with it, "" for none.
        code: error code of the response, "" for success.
    """

    __slots__ = (
        "code",
        "exchange",
        "flag",
        "headers",
        "id",
        "method",
        "path",
        "received",
        "responded",
        "size",
        "traceparent",
        "uploads",
    )

    def __init__(self, exchange: Exchange) -> None:
        self.exchange, self.method, self.path, self.headers = exchange, exchange.method, exchange.path, exchange.headers
        given = self.headers.get("x-request-id", "")
        self.id = given if given and SANE_ID.fullmatch(given) else f"{random.getrandbits(64):016x}"
        given = self.headers.get("traceparent", "")
        self.traceparent = given if given and _TRACEPARENT.fullmatch(given) else ""
        self.flag = DETAILS if exchange.query and "details=1" in exchange.query.split("&") else 0
        self.received = self.responded = monotonic()
        self.size, self.code, self.uploads = 0, "", list[Upload]()


class Response(NamedTuple):
    status: int
    body: bytes
    headers: Headers = (JSON,)


Gate = Callable[[Request], None]
Endpoint = Callable[[Request], Awaitable[Response]]
Routes = Mapping[str, Mapping[str, Endpoint]]  # path -> method -> endpoint
