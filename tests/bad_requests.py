"""Requests that are wrong in every way we know, each with the statuses that the contract allows for it.

No JSON is asked for where the request fails before it is parsed at all: the HTTP server answers those itself.
"""

import gzip
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.bad_images import digit
from tests.raw_http import BOUNDARY, CHUNKED, IMAGE, chunk, multipart, request, upload

MIB = 1024 * 1024
PICTURE = digit("PNG")
BODY = multipart((IMAGE, PICTURE))
TEXT = 'form-data; name="note"'


class Input(NamedTuple):
    """What is sent, and the status and code that it must get; `half_close`: the client then closes its side."""

    name: str
    sent: bytes | Iterable[bytes]
    status: int
    code: str = ""
    half_close: bool = False


def of_bodies() -> Iterator[Input]:
    """Too large, cut off, endless, encoded, without length or with a wrong one."""
    piece = chunk(bytes(MIB // 2))
    endless = [request(length=None, kind="image/png", headers=[CHUNKED]), *[piece] * 24]
    yield Input("9 MiB announced, nothing sent", request(length=9 * MIB), 413, "body_too_large")
    yield Input("9 MiB announced and sent", upload(bytes(9 * MIB)), 413, "body_too_large")
    yield Input("12 MiB in chunks", endless, 413, "body_too_large")
    yield Input("65 MiB to the batch", request(length=65 * MIB, path="/api/mnist/batch"), 413, "body_too_large")
    yield Input("more length than anybody has", request(length=10**30), 400)
    yield Input("negative length", request(length=None, headers=[b"Content-Length: -7"]), 400)
    yield Input("two lengths", request(BODY, headers=[b"Content-Length: 5"]), 400)
    yield Input("less body than announced", request(BODY, length=len(BODY) + 9), 400, "malformed_multipart", True)
    yield Input("more body than announced", request(BODY, length=len(BODY) - 9), 400, "malformed_multipart")
    smuggled = request(b"", length=10, headers=[CHUNKED], kind="image/png")
    yield Input("a length and chunks", [smuggled, *[piece] * 24], 413, "body_too_large")
    yield Input(
        "chunks of no size", request(b"zz\r\nab\r\n", length=None, headers=[CHUNKED]), 400, "malformed_multipart"
    )
    cut_off = request(chunk(BODY[:90]), length=None, headers=[CHUNKED])
    yield Input("chunks, cut off", cut_off, 400, "malformed_multipart", True)
    bomb = gzip.compress(bytes(50 * MIB))
    yield Input("gzip bomb", request(bomb, headers=[b"Content-Encoding: gzip"]), 415, "unsupported_media_type")
    yield Input(
        "transfer encoding gzip", request(bomb, length=None, headers=[b"Transfer-Encoding: gzip, chunked"]), 400
    )
    yield Input("no body", request(length=0, kind="image/png"), 400, "empty_image")
    yield Input("no body, no length", request(length=None, kind="image/png"), 400, "empty_image")
    yield Input("an encoding nobody knows", request(BODY, headers=[b"Content-Encoding: \xff"]), 415)


def of_multipart() -> Iterator[Input]:
    """Forms that do not parse, or hold something else than one picture."""
    malformed, missing = (400, "malformed_multipart"), (400, "missing_image")
    yield Input("no boundary", request(BODY, "multipart/form-data"), *malformed)
    yield Input("empty boundary", request(BODY, 'multipart/form-data; boundary=""'), *malformed)
    yield Input("another boundary", request(BODY, "multipart/form-data; boundary=other"), *malformed)
    yield Input("a boundary of 1,000 bytes", request(BODY, f"multipart/form-data; boundary={'x' * 1000}"), *malformed)
    yield Input("a boundary that is no text", request(BODY, "multipart/form-data; boundary=\xff\xfe"), 415)
    yield Input("no end", request(BODY[:-8]), *malformed)
    yield Input("cut within the picture", request(BODY[:150]), *malformed)
    yield Input(
        "a part without headers", request(b"--%s\r\n\r\nx\r\n--%s--\r\n" % ((BOUNDARY.encode(),) * 2)), *malformed
    )
    yield Input(
        "a header of 1 MB in a part", request(multipart((IMAGE + "\r\nX-A: " + "a" * MIB, PICTURE))), *malformed
    )
    yield Input("nothing but the end", request(f"--{BOUNDARY}--\r\n".encode()), *missing)
    yield Input("a text field named image", request(multipart(('form-data; name="image"', PICTURE))), *missing)
    yield Input(
        "a file of another name", request(multipart(('form-data; name="file"; filename="a"', PICTURE))), *missing
    )
    yield Input("two pictures", request(multipart((IMAGE, PICTURE), (IMAGE, PICTURE))), 400, "several_images")
    yield Input("1,000 pictures", request(multipart(*[(IMAGE, PICTURE)] * 1000)), 400, "several_images")
    yield Input("2,000 text fields", request(multipart(*[(TEXT, b"1")] * 2000)), *malformed)
    batch = "/api/mnist/batch"
    yield Input("a batch of 257", request(multipart(*[(IMAGE, b"x")] * 257), path=batch), 413, "too_many_images")
    inner = multipart((IMAGE, PICTURE), boundary="inner")
    nested = (IMAGE + "\r\nContent-Type: multipart/mixed; boundary=inner", inner)
    yield Input("nested multipart", request(multipart(nested)), 422, "undecodable_image")
    for name in (
        "../../../../etc/passwd",
        "a\0b.png",
        "C:\\\\x.png",
        "x" * 2000,
        "\u202egnp.exe",
        "$(reboot)",
        "%00",
        "",
    ):
        disposition = f'form-data; name="image"; filename="{name}"'
        yield Input(f"file name {name[:20]!r}", request(multipart((disposition, PICTURE))), 200)
    yield Input("a folded part header", request(multipart((IMAGE + "\r\n ; x", PICTURE))), 200)
    yield Input("a batch of nothing", request(multipart((TEXT, b"1")), path=batch), *missing)


def of_http() -> Iterator[Input]:
    """What is no request, or one for something else."""
    live = {"method": "GET", "path": "/livez", "kind": None, "length": None}
    yield Input("not HTTP", b"\x00\x01\x02\r\n\r\n", 400)
    yield Input("TLS", b"\x16\x03\x01\x02\x00\x01\x00" + b"x" * 200, 400)
    yield Input("a header of 1 MB", request(headers=[b"X-A: " + b"a" * MIB], **live), 431)
    yield Input("1,000 headers", request(headers=[b"X-%d: a" % n for n in range(1000)], **live), 431)
    yield Input("a path of 100 kB", request(**live | {"path": "/" + "a" * 100_000}), 414)
    yield Input("a path that is no text", request(**live | {"path": "/%ff"}), 404, "not_found")
    yield Input("a path upwards", request(**live | {"path": "/../../etc/passwd"}), 404, "not_found")
    yield Input("a path with NUL", request(**live | {"path": "/livez%00"}), 404, "not_found")
    yield Input("TRACE", request(**live | {"method": "TRACE"}), 405, "method_not_allowed")
    yield Input("a method of our own", request(**live | {"method": "BREW"}), 405, "method_not_allowed")
    yield Input("GET of the picture endpoint", request(**live | {"path": "/api/mnist"}), 405, "method_not_allowed")
    yield Input("CONNECT", request(**live | {"method": "CONNECT", "path": "a:1"}), 404)
    yield Input("no type", request(BODY, None), 415, "unsupported_media_type")
    yield Input("JSON", request(b"{}", "application/json"), 415, "unsupported_media_type")
    yield Input("a type that is no text", request(BODY, "multi\xff\xfe"), 415, "unsupported_media_type")
    yield Input("an id that is no text", request(BODY, headers=[b"X-Request-Id: \xff\xfe"]), 200)
    yield Input("an id with a script", request(BODY, headers=[b"X-Request-Id: <script>"]), 200)
    yield Input("an id of 10 kB", request(BODY, headers=[b"X-Request-Id: " + b"a" * 10_000]), 200)
    yield Input("a space before the colon", request(BODY, headers=[b"X-A : b"]), 400)
    yield Input("a bare line feed in a header", request(BODY, headers=[b"X-A: b\n c"]), 400)


def every() -> list[Input]:
    return [*of_bodies(), *of_multipart(), *of_http()]
