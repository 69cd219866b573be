"""Images -> POST /api/mnist/batch, some at a time -> an outcome for each, in order.

A service that is busy or starting is asked again, for as long as it says and a few times only.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests

from client.files import Image

BYTES = 16 * 1024 * 1024  # of images in one request; beyond it a new one begins
ATTEMPTS = 6  # of one request
WAIT = 1.0  # seconds until the next attempt where the service names none
LONGEST_WAIT = 30  # seconds, whatever it names
TIMEOUT = (5, 60)  # seconds to connect and to wait for an answer


class ServiceFailure(Exception):
    """The service as a whole cannot be used; the message is one line for people."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one image: `answer` as the API gives it, or `error`, a dict with code and message."""

    name: str
    answer: dict[str, Any] | None = None
    error: dict[str, str] | None = None


class Service:
    """A running service.

    Args:
        url: where it is, without a path.
        key: API key, if it wants one.
        details: ask for verdict, warnings and the picture seen.
    """

    def __init__(self, url: str, key: str | None = None, details: bool = False) -> None:
        self._url = url.rstrip("/") + "/api/mnist/batch" + ("?details=1" if details else "")
        self._session = requests.Session()
        self._proxies = direct(url)
        if key:
            self._session.headers["X-API-Key"] = key

    def read(self, images: Iterable[Image], size: int) -> Iterator[Outcome]:
        """The outcome of each image, in order, `size` of them in one request.

        Raises:
            ServiceFailure: it cannot be reached, or refuses all of them.
        """
        group: list[tuple[str, bytes]] = []
        for image in images:
            try:
                data = image.bytes()
            except OSError as error:
                yield from self._sent(group)
                group = []
                yield Outcome(image.name, error={"code": "unreadable_file", "message": f"{error.strerror}."})
                continue
            if len(group) == size or sum(len(held) for _, held in group) + len(data) > BYTES:
                yield from self._sent(group)
                group = []
            group.append((image.name, data))
        yield from self._sent(group)

    def _sent(self, group: list[tuple[str, bytes]]) -> Iterator[Outcome]:
        if not group:
            return
        status, body = self._post([("image", ("digit", data)) for _, data in group])
        if status == 401 or status == 404:
            raise ServiceFailure(_message(status, body))
        if status != 200:
            for name, _ in group:
                yield Outcome(name, error=body.get("error") or {"code": str(status), "message": _message(status, body)})
            return
        for (name, _), result in zip(group, body["results"], strict=True):
            yield Outcome(name, error=result["error"]) if "error" in result else Outcome(name, result)

    def _post(self, files: list[tuple[str, tuple[str, bytes]]]) -> tuple[int, dict[str, Any]]:
        for attempt in range(ATTEMPTS):
            try:
                response = self._session.post(self._url, files=files, timeout=TIMEOUT, proxies=self._proxies)
            except requests.ConnectionError as error:
                raise ServiceFailure(f"nothing answers at {self._url}; is the service running?") from error
            except requests.RequestException as error:
                raise ServiceFailure(f"{self._url}: {error}") from error
            if response.status_code not in (429, 503) or attempt == ATTEMPTS - 1:
                break
            time.sleep(_wait(response.headers.get("Retry-After", "")))
        try:
            body = response.json()
            if response.status_code == 200:
                return 200, {"results": list(body["results"])}
        except (ValueError, TypeError, KeyError) as error:
            raise ServiceFailure(f"{self._url} does not answer as this service does") from error
        error = body.get("error") if isinstance(body, dict) else None
        ours = isinstance(error, dict) and {"code", "message"} <= error.keys()
        return response.status_code, {"error": error} if ours else {}  # else a gateway's


def direct(url: str) -> dict[str, str]:
    """For requests: a URL on loopback goes through no proxy, whatever `http_proxy` says; empty for other hosts."""
    host = urlsplit(url).hostname or ""
    loopback = host == "localhost" or host.endswith(".localhost")
    with suppress(ValueError):  # a name
        loopback = ip_address(host).is_loopback
    return {"no_proxy": host} if loopback else {}


def _wait(retry_after: str) -> float:
    """Seconds to wait; a date, which a gateway may give, counts as none."""
    return min(int(retry_after), LONGEST_WAIT) if retry_after.isdecimal() else WAIT


def _message(status: int, body: dict[str, Any]) -> str:
    return (body.get("error") or {}).get("message") or f"The service answered with status {status}."
