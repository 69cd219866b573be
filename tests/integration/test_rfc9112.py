"""HTTP/1.1 as it may not be written: what RFC 9112 demands of a server for repeated and contradictory headers."""

import socket

import pytest

from tests.load import SAMPLES
from tests.raw_http import chunk, exchange, receive

IMAGE = SAMPLES[7].read_bytes()
CHUNKS = chunk(IMAGE) + b"0\r\n\r\n"
LENGTH = b"Content-Length: %d" % len(IMAGE)
CHUNKED = b"Transfer-Encoding: chunked"


def post(*headers: bytes, body: bytes = IMAGE, version: bytes = b"1.1") -> bytes:
    lines = (b"POST /api/mnist HTTP/" + version, *headers, b"Content-Type: image/png", b"", body)
    return b"\r\n".join(lines)


REFUSED = {
    "two different lengths (6.3)": post(b"Host: a", LENGTH, b"Content-Length: 5"),
    "a list of different lengths (6.3)": post(b"Host: a", b"Content-Length: %d, 5" % len(IMAGE)),
    "chunked twice, in two headers (6.1)": post(b"Host: a", CHUNKED, CHUNKED, body=CHUNKS),
    "chunked twice, in one header (6.1)": post(b"Host: a", b"Transfer-Encoding: chunked, chunked", body=CHUNKS),
    "chunked is not the last coding (6.3)": post(b"Host: a", b"Transfer-Encoding: chunked, gzip", body=CHUNKS),
    "a second coding after chunked (6.3)": post(b"Host: a", CHUNKED, b"Transfer-Encoding: gzip", body=CHUNKS),
    "identity, which is no coding any more (7.3)": post(b"Host: a", b"Transfer-Encoding: identity", LENGTH),
    "chunked in HTTP/1.0 (6.1)": post(b"Host: a", CHUNKED, body=CHUNKS, version=b"1.0"),
    "no Host (3.2)": post(LENGTH),
    "two Hosts (3.2)": post(b"Host: a", b"Host: b", LENGTH),
    "the same Host twice (3.2)": post(b"Host: a", b"Host: a", LENGTH),
    "a length that is no number (6.3)": post(b"Host: a", b"Content-Length: +%d" % len(IMAGE)),
    "a space before the colon (5.1)": post(b"Host: a", LENGTH, b"X-A : b"),
    "a chunk size that is no number (7.1)": post(b"Host: a", CHUNKED, body=b"0x5\r\n" + CHUNKS),
}
SERVED = {
    "the same length twice (6.3)": post(b"Host: a", LENGTH, LENGTH),
    "an empty Host (3.2)": post(b"Host:", LENGTH),
    "HTTP/1.0 without Host (3.2)": post(LENGTH, version=b"1.0"),
    "chunks beside a length (6.3)": post(b"Host: a", CHUNKED, b"Content-Length: 3", body=CHUNKS),
    "coding names in any case (7)": post(b"Host: a", b"Transfer-Encoding: CHUNKED", body=CHUNKS),
    "chunk extensions (7.1.1)": post(b"Host: a", CHUNKED, body=CHUNKS.replace(b"\r\n", b";a=b\r\n", 1)),
    "trailers (7.1.2)": post(b"Host: a", CHUNKED, body=CHUNKS[:-2] + b"X-Checksum: 1\r\n\r\n"),
}


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
def test_refused(stack, sent):
    answer = exchange(stack.port, sent)
    assert answer is not None
    assert answer.status in (400, 501), answer


@pytest.mark.parametrize("sent", SERVED.values(), ids=SERVED)
def test_served(stack, sent):
    answer = exchange(stack.port, sent)
    assert answer is not None
    assert answer.status == 200, answer
    assert answer.json["predictions"]["prediction"]["label"] == 7


@pytest.mark.parametrize(
    "sent",
    [
        post(b"Host: a", CHUNKED, b"Content-Length: %d" % len(CHUNKS), body=CHUNKS),
        post(b"Host: a", b"Content-Length: 3", CHUNKED, body=CHUNKS),
    ],
)
def test_a_length_beside_chunks_smuggles_nothing(stack, sent):
    """The chunks alone say where the body ends; what follows is the next request, or the connection is closed."""
    following = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        connection.sendall(sent + following)
        assert receive(connection).status == 200
        second = receive(connection)
        assert second is None or second.json == {"live": True}


def test_pipelined_requests_are_answered_in_their_order(stack):
    good, bad = post(b"Host: a", LENGTH), post(b"Host: a", b"Content-Length: 4", body=b"none")
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        connection.sendall(b"".join((good, bad, good)))
        assert [receive(connection).status for _ in range(3)] == [200, 422, 200]


def test_a_refusal_of_a_head_whose_body_comes_later(stack):
    """The body must not meet a closed connection, or the client sees a reset in place of the refusal."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        head = (b"POST /api/mnist HTTP/1.1", b"Host: a", b"Content-Type: text/plain", b"Content-Length: 9", b"", b"")
        connection.sendall(b"\r\n".join(head))
        assert receive(connection).status == 415
        connection.sendall(b"some text")
        connection.sendall(post(b"Host: a", LENGTH))
        assert receive(connection).status == 200
