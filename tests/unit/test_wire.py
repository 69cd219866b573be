"""Both sides of the wire format, held together: what the proxy encodes the handler decodes, and back."""

import struct
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wire as handler_side
from proxy import torchserve as proxy_side
from proxy.batcher import Item

images = st.lists(st.binary(max_size=300), max_size=20)


def encode(images, flags):
    return proxy_side.encode([Item(image, flag, inf) for image, flag in zip(images, flags, strict=True)])


@given(images, st.data())
def test_what_the_proxy_sends_is_what_the_handler_reads(images, data):
    flags = [data.draw(st.integers(0, 255)) for _ in images]
    assert handler_side.decode(encode(images, flags)) == (images, flags)


@given(st.lists(st.tuples(st.integers(0, 999), st.binary(max_size=300)), max_size=20))
def test_what_the_handler_replies_is_what_the_proxy_reads(replies):
    assert proxy_side.decode(handler_side.encode(replies), len(replies)) == replies


def test_the_flags_of_both_sides_agree():
    assert (proxy_side.DETAILS, proxy_side.PROBE) == (handler_side.DETAILS, handler_side.PROBE)


@given(st.binary(max_size=64))
def test_the_handler_takes_no_nonsense_for_a_batch(body):
    try:
        images, flags = handler_side.decode(body)
    except ValueError:
        return
    assert encode(images, flags) == body


def test_a_count_of_billions_is_refused_before_anything_is_built():
    with pytest.raises(ValueError, match="cut off"):
        handler_side.decode(struct.pack("!I", 4_000_000_000))


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.data())
def test_a_batch_that_is_cut_off_is_none(images, data):
    body = encode(images, [0] * len(images))
    with pytest.raises(ValueError, match="batch"):
        handler_side.decode(body[: data.draw(st.integers(0, len(body) - 1))])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        struct.pack("!I", 1),
        struct.pack("!IHI", 1, 200, 5) + b"1234",
        struct.pack("!IHI", 1, 200, 3) + b"1234",
        struct.pack("!IHI", 2, 200, 4) + b"1234",
        b"Prediction failed",
    ],
)
def test_the_proxy_takes_no_nonsense_for_a_reply(body):
    with pytest.raises(ValueError, match="reply"):
        proxy_side.decode(body, 1)
