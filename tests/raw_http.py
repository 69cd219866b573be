"""Requests as bytes and answers from bytes: what a well-behaved HTTP client would not send can be sent too."""

import json
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

BOUNDARY = "a-line-between-parts"
IMAGE = 'form-data; name="image"; filename="7.png"'


@dataclass(frozen=True)
class Answer:
    """One response. `closed`: the server closed the connection after it."""

    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error's code, "" for a success or a body that is no error of ours."""
        try:
            return self.json["error"]["code"]
        except (ValueError, KeyError, TypeError):
            return ""


def multipart(*parts: tuple[str, bytes], boundary: str = BOUNDARY) -> bytes:
    """A body of parts, each a Content-Disposition (or more header lines) and its payload."""
    body = b"".join(
        b"--%s\r\nContent-Disposition: %s\r\n\r\n%s\r\n" % (boundary.encode(), head.encode(), payload)
        for head, payload in parts
    )
    return body + b"--%s--\r\n" % boundary.encode()


def request(
    body: bytes = b"",
    kind: str | None = f"multipart/form-data; boundary={BOUNDARY}",
    path: str = "/api/mnist",
    method: str = "POST",
    length: int | None = -1,
    headers: Iterable[bytes] = (),
) -> bytes:
    """A request's bytes. `length`: the Content-Length to claim, -1 for the true one, None for none."""
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: test", *headers]
    if kind is not None:
        lines.append(b"Content-Type: " + kind.encode("latin-1"))
    if length is not None:
        lines.append(b"Content-Length: %d" % (len(body) if length < 0 else length))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def upload(image: bytes, path: str = "/api/mnist", headers: Iterable[bytes] = ()) -> bytes:
    """The request of an ordinary client with one picture."""
    return request(multipart((IMAGE, image)), path=path, headers=headers)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = b"Transfer-Encoding: chunked"


def exchange(port: int, sent: bytes | Iterable[bytes], seconds: float = 30, half_close: bool = False) -> Answer | None:
    """Send bytes on a connection of its own and read one answer; None where the server closes without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        with suppress(BrokenPipeError):  # the HTTP server answers a head without end at once, and closes
            for piece in (sent,) if isinstance(sent, bytes) else sent:
                connection.sendall(piece)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return receive(connection)


def receive(connection: socket.socket) -> Answer | None:
    """The next answer on a connection, None where it is closed before. What follows the answer stays to be read."""
    head, body = b"", b""
    while not head.endswith(b"\r\n\r\n"):
        if not (arrived := connection.recv(65536, socket.MSG_PEEK)):
            return None
        end = (head + arrived).find(b"\r\n\r\n")
        head += connection.recv(len(arrived) if end < 0 else end + 4 - len(head))
    status, headers = parse_head(head[:-4])
    length = int(headers.get("content-length", 0))
    while len(body) < length:
        if not (piece := connection.recv(length - len(body))):
            return None
        body += piece
    return Answer(status, headers, body, headers.get("connection") == "close" or _closed(connection))


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers, their names in lower case."""
    first, *rest = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in rest)
    return int(first.split(" ")[1]), {name.lower(): value for name, _, value in pairs}


def _closed(connection: socket.socket) -> bool:
    timeout = connection.gettimeout()
    connection.settimeout(0.1)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except TimeoutError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(timeout)


Check = Callable[[Answer], bool]
