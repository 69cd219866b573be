"""Both ends of the proxy's HTTP: requests as the server hands them over, and the real server with a client of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import NamedTuple

import aiohttp

from proxy.app import App, Request
from proxy.server import granian
from proxy.settings import Settings
from serve.listening import listen


class Headers:
    """Granian's mapping: names in lower case, each with all its values."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._values = {name.lower(): value for name, value in given.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def get(self, name: str, default: str | None = None) -> str | None:
        return self._values.get(name, default)

    def get_all(self, name: str) -> list[str]:
        return [self._values[name]] if name in self._values else []


def request_of(
    path: str = "/api/mnist", headers: Mapping[str, str] | None = None, method: str = "POST", query: str = ""
) -> Request:
    """A request whose body nobody reads. It needs no event loop."""
    scope = SimpleNamespace(
        method=method,
        path=path,
        query_string=query,
        http_version="1.1",
        headers=Headers({"host": "x"} | (headers or {})),
    )
    return Request(scope, None, None)  # type: ignore[arg-type]


class Answer(NamedTuple):
    """A response; the names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@asynccontextmanager
async def serving(app: App, settings: Settings | None = None, listeners: int = 1) -> AsyncIterator[int]:
    """The port at which the real HTTP server answers with `app`, as `python -m proxy` runs it on so many listeners."""
    [listener] = listen("127.0.0.1", 0)
    with listener:
        server = granian(app, settings or Settings(), listener, listeners)
        task = asyncio.create_task(server.serve())
        sweeps = asyncio.create_task(_sweep(app))
        try:
            yield listener.getsockname()[1]
        finally:
            sweeps.cancel()
            server.stop()
            await asyncio.wait([task], timeout=5)


async def _sweep(app: App) -> None:
    while True:
        await asyncio.sleep(0.02)
        app.sweep()


async def fetch(
    port: int,
    path: str = "/api/mnist",
    body: bytes | AsyncIterator[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
    method: str = "POST",
) -> Answer:
    """One request by an ordinary client."""
    async with (
        aiohttp.ClientSession(skip_auto_headers=("Content-Type",)) as session,
        session.request(method, f"http://127.0.0.1:{port}{path}", data=body, headers=headers) as response,
    ):
        named = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, named, await response.read())


async def send(port: int, *pieces: bytes) -> bytes:
    """What comes back for these bytes until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


async def eventually(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def multipart(*parts: Iterable, boundary: str = "cut") -> tuple[dict[str, str], bytes]:
    """Content-Type and body of parts, each a (disposition, payload) or (disposition, payload, content type)."""
    body = b""
    for disposition, payload, *kind in parts:
        kinds = b"".join(b"Content-Type: " + k.encode() + b"\r\n" for k in kind)
        head = disposition if isinstance(disposition, bytes) else disposition.encode()
        body += b"--%b\r\nContent-Disposition: %b\r\n%b\r\n%b\r\n" % (boundary.encode(), head, kinds, payload)
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, body + f"--{boundary}--\r\n".encode()


def file(name: str, payload: bytes, filename: str = "x.png") -> tuple[str, bytes]:
    """A file part, for `multipart`."""
    return f'form-data; name="{name}"; filename="{filename}"', payload
