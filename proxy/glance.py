"""Refusing at a glance: an upload that must be refused, and has the form that most clients send, is not even parsed.

At twice the peak most uploads are refused, and what each of them costs is lost for those that are answered
(docs/performance.md). The answer is that of any other refusal; counts and log get many of them at a time.
"""

import random
import re
from collections.abc import Callable, Sequence
from time import time

from http1 import response_head
from proxy.errors import Overloaded
from proxy.request import JSON, SANE_ID, Headers

Refusals = list[tuple[float, str]]  # when, in seconds of the clock, and the request's id
PATH = "/api/mnist"
# Headers that change nothing about the answer or where the request ends; any other is the parser's.
_PLAIN = (
    rb"(?:(?i:Host|User-Agent|Accept|Accept-Encoding|Content-Type|Authorization|X-API-Key|X-Forwarded-For):[ -~]*+\r\n"
    rb"|(?i:X-Request-Id): ?(%b)\r\n){0,20}+" % SANE_ID.pattern.encode()
)
_COMMON = re.compile(
    rb"POST %b HTTP/1\.1\r\n%b(?i:Content-Length): ?([0-9]{1,9})\r\n%b\r\n" % (PATH.encode(), _PLAIN, _PLAIN)
)


class Glance:
    """Looks at what has come, before it is parsed.

    Args:
        overloaded: whether an upload would be refused for overload; told whether the server is crowded.
        headers: what the response to a request without an Origin has beside a refusal's own.
        tally: called with the refusals of the last tenth of a second.
    """

    def __init__(
        self, overloaded: Callable[[bool], bool], headers: Headers, tally: Sequence[Callable[[Refusals], None]]
    ) -> None:
        self._overloaded, self._tally = overloaded, tally
        self._refused: Refusals = []
        error = Overloaded()
        body = error.body("%s").decode()
        self._length = len(body) - len("%s")
        told = JSON, *error.headers, ("x-request-id", "%s"), *headers
        # What is between the date, the id, the length and the id.
        self._answer = (response_head(error.status, "%s", told, "%s", keep_alive=True) + body).split("%s")

    def __call__(self, data: bytes, crowded: bool, date: str) -> bytes | None:
        """The refusal of what has come, if this is an upload to be refused for overload.

        Args:
            date: the header line.
        """
        if not self._overloaded(crowded):
            return None
        found = _COMMON.match(data)
        if not found:
            return None
        before, length, after = found.groups()
        if int(length) != len(data) - found.end():
            return None
        given = after or before
        id = given.decode() if given else f"{random.getrandbits(64):016x}"
        self._refused.append((time(), id))
        a, b, c, d, e = self._answer
        return f"{a}{date}{b}{id}{c}{self._length + len(id)}{d}{id}{e}".encode()

    def look(self) -> None:
        """Count and log what was refused; to be called ten times a second."""
        refused, self._refused = self._refused, []
        for tally in self._tally:
            tally(refused)
