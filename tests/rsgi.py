"""The far end of the proxy's wire, for tests: a request as Granian would hand it over."""

import asyncio
from types import SimpleNamespace

from proxy.app import App
from proxy.cors import Cors
from proxy.request import Request


def app_of(routes, origins=("*",), observers=()):
    """An application as `python -m proxy` makes it."""
    cors = Cors(origins)
    return App(cors.completed(routes), cors, observers)


class Protocol:
    """A client that sends `chunks`, `pause` seconds before each, and keeps what it is answered."""

    def __init__(self, chunks=(), pause=0.0):
        self.chunks, self.pause = list(chunks), pause
        self.read = 0
        self.left = asyncio.Event()

    async def __call__(self):
        return b"".join([chunk async for chunk in self])

    async def __aiter__(self):
        for chunk in self.chunks:
            await asyncio.sleep(self.pause)
            self.read += len(chunk)
            yield chunk

    async def client_disconnect(self):
        await self.left.wait()

    def response_bytes(self, status, headers, body):
        self.status, self.headers, self.body = status, dict(headers), body


def scope_of(method="POST", path="/api/mnist", headers=None, query=""):
    headers = {name.lower(): value for name, value in (headers or {}).items()}
    return SimpleNamespace(method=method, path=path, headers=headers, query_string=query, proto="http")


def request_of(body=b"", headers=None, pause=0.0, **scope):
    """A request whose body comes in pieces of 1,000 bytes."""
    chunks = [body[at : at + 1000] for at in range(0, len(body), 1000)]
    return Request(scope_of(headers=headers, **scope), Protocol(chunks, pause))


def multipart(*parts, boundary="cut"):
    """Content-Type and body of parts, each a (disposition, payload) or (disposition, payload, content type)."""
    body = b""
    for disposition, payload, *kind in parts:
        kinds = b"".join(b"Content-Type: " + k.encode() + b"\r\n" for k in kind)
        body += b"--%b\r\nContent-Disposition: %b\r\n%b\r\n%b\r\n" % (
            boundary.encode(), disposition.encode(), kinds, payload,
        )  # fmt: skip
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, body + f"--{boundary}--\r\n".encode()


def file(name, payload, filename="x.png"):
    return f'form-data; name="{name}"; filename="{filename}"', payload
