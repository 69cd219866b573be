"""The far end of the proxy's wire, for tests: exchanges as the HTTP server would hand them over."""

import asyncio

from http1 import Exchange
from proxy.cors import Cors
from proxy.request import Request

from proxy.app import App
from tests.faults.wire import parse_head


def app_of(routes, origins=("*",), gates=(), observers=()):
    """An application as `python -m proxy` makes it."""
    cors = Cors(origins)
    return App(cors.completed(routes), cors, dict(gates), observers)


def ask(app, exchange):
    """Let the application answer."""
    if work := app(exchange):
        asyncio.run(work)


class Wire:
    """Keeps the answer: status, headers, body."""

    date = ""

    def answer(self, exchange, data):
        head, _, self.body = data.partition(b"\r\n\r\n")
        self.status, self.headers = parse_head(head)

    def go_on(self):
        pass

    def taken(self):
        pass


def exchange_of(method="POST", path="/api/mnist", headers=None, body=b"", wire=None, whole=True):
    """An exchange whose body has arrived in pieces of 1,000 bytes; all of it, unless it is not `whole`."""
    headers = {name.lower(): value for name, value in (headers or {}).items()}
    exchange = Exchange(wire or Wire(), method, path, headers)
    for at in range(0, len(body), 1000):
        exchange.arrived(body[at : at + 1000])
    if whole:
        exchange.completed()
    return exchange


def request_of(body=b"", headers=None, **exchange):
    return Request(exchange_of(headers=headers, body=body, **exchange))


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
