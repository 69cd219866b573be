"""However a client's bytes are cut up on their way, they are the same requests."""

from collections import deque
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from http1.reader import HEAD_BYTES, Reader, Refused

UPGRADE = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
bodies = st.binary(max_size=40)


def with_length(body, head):
    return b"POST /length HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)


def in_chunks(body, head, trailers):
    chunks = [b"%x\r\n%b\r\n" % (len(body[at : at + 7]), body[at : at + 7]) for at in range(0, len(body), 7)]
    return b"POST /chunks HTTP/1.1\r\nHost: x\r\n%bTransfer-Encoding: chunked\r\n\r\n%b0\r\n%b\r\n" % (
        head,
        b"".join(chunks),
        trailers,
    )


heads = st.sampled_from([b"", UPGRADE, b"X-Mark: 1\r\n"])
requests = st.one_of(
    st.builds(lambda head: (b"GET /get HTTP/1.1\r\nHost: x\r\n%b\r\n" % head, "/get", b""), heads),
    st.builds(lambda body, head: (with_length(body, head), "/length", body), bodies, heads),
    st.builds(
        lambda body, head, trailers: (in_chunks(body, head, trailers), "/chunks", body),
        bodies,
        heads,
        st.sampled_from([b"", b"X-Mark: 2\r\n", b"X-Mark: 2\r\nHost: y\r\n"]),
    ),
)


def cut(data, places):
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


def body_of(exchange):
    return b"".join(exchange._pieces)


@given(st.lists(requests, min_size=1, max_size=6), st.lists(st.integers(0, 10_000), max_size=12))
def test_requests_are_the_same_however_they_are_cut(sent, places):
    exchanges = deque()
    reader = Reader(None, exchanges)
    for piece in cut(b"".join(data for data, _, _ in sent), places):
        reader.feed(piece)
    assert [(each.path, body_of(each), each.whole, each.keep_alive) for each in exchanges] == [
        (path, body, True, True) for _, path, body in sent
    ]
    assert all(each.headers["host"] == "x" and each.headers.get("x-mark", "1") == "1" for each in exchanges)
    assert (reader.exchange, reader.head) == (None, 0)


@given(requests, requests, st.integers(1, 10_000))
def test_it_is_between_two_requests_only_where_it_says_so(first, second, place):
    """What is answered at a glance must be no part of another request."""
    data, part = first[0], second[0][: 1 + place % (len(second[0]) - 1)]
    exchanges = deque()
    reader = Reader(None, exchanges)
    reader.feed(data + part)
    assert reader.head or reader.exchange or part == second[0]


@pytest.mark.parametrize("begun", [b"GET / HTTP/1.1\r\nX: ", in_chunks(b"", b"", b"X: ")[:-2]])
def test_no_head_and_no_trailers_go_on_for_ever(begun):
    reader = Reader(None, deque())
    reader.feed(begun)
    for _ in range(HEAD_BYTES // 1000):
        reader.feed(b"x" * 1000)
    with pytest.raises(Refused):
        reader.feed(b"x" * 1000)
