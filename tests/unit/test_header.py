"""Headers read without decoding: they agree with the decoder, and any bytes get an answer or a refusal."""

import random
from struct import error

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from header import MAX_SEGMENTS, CutOff, jpeg_header
from tests.unit.test_decode import drawing, file_of, in_mode, mutated

SOURCES = [
    file_of(in_mode(mode), "JPEG", progressive=progressive) for mode in ("L", "RGB") for progressive in (False, True)
]


@pytest.mark.parametrize(("mode", "components"), [("L", 1), ("RGB", 3), ("CMYK", 4)])
def test_a_jpeg_tells_its_size_components_scans_and_end(mode, components):
    data = file_of(in_mode(mode), "JPEG")
    assert jpeg_header(data + b"film") == (*drawing().size, components, 1, len(data))
    assert jpeg_header(file_of(in_mode(mode), "JPEG", progressive=True)).scans > 1


def test_a_thumbnail_in_the_tags_is_ignored():
    thumbnail = file_of(drawing(16), "JPEG", progressive=True)
    data = file_of(drawing(), "JPEG")
    tagged = data[:2] + b"\xff\xe1" + (2 + len(thumbnail)).to_bytes(2, "big") + thumbnail + data[2:]
    assert jpeg_header(tagged) == (*drawing().size, 1, 1, len(tagged))


def test_the_first_frame_header_counts():
    data = file_of(drawing(), "JPEG")
    at = data.index(b"\xff\xc0")
    second = data[at : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")].replace(
        b"\x00\x38\x00\x40", b"\x00\x01\x00\x01"
    )
    assert jpeg_header(data[:-2] + second + data[-2:])[:2] == drawing().size
    assert jpeg_header(data[:at] + second + data[at:])[:2] == (1, 1)


def test_fill_bytes_may_come_before_a_marker():
    data = file_of(drawing(), "JPEG")
    assert jpeg_header(data[:-2] + b"\xff\xff" + data[-2:])[:4] == (*drawing().size, 1, 1)


def test_endless_segments_are_refused():
    with pytest.raises(ValueError, match="segments"):
        jpeg_header(b"\xff\xd8" + b"\xff\xfe\x00\x02" * (MAX_SEGMENTS + 1) + b"\xff\xd9")


@given(
    st.lists(st.sampled_from([b"\xff", b"\xc0", b"\xda", b"\xd9", b"\x00", b"\x02", b"\x08", b"\xd8"]) | st.binary())
)
@example([b"\xff\xc0"])
@example([b"\xff\xda\x00"])
def test_any_bytes_give_an_answer_or_a_refusal(pieces):
    data = b"\xff\xd8" + b"".join(pieces)
    try:
        found = jpeg_header(data)
    except (ValueError, error):
        return
    assert 2 < found.end <= len(data)
    assert data[found.end - 2 : found.end] == b"\xff\xd9"


def test_mutated_images_have_the_size_of_their_header(capfd):
    rng, decoded = random.Random("headers"), 0  # noqa: S311 - the same mutants every time
    for data in (mutated(source, rng) for source in SOURCES for _ in range(250)):
        try:
            header = jpeg_header(data)
        except CutOff:
            continue
        pixels = cv2.imdecode(np.frombuffer(data[: header.end], np.uint8), cv2.IMREAD_GRAYSCALE)
        if pixels is not None:
            decoded += 1
            assert pixels.shape == (header.height, header.width)
    assert decoded > 100
    capfd.readouterr()  # libjpeg prints its complaints
