"""Admission: which keys open, what a body may take, which size class an image has, whatever its bytes are."""

import hmac
import io
import struct
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from decode import PictureError, UndecodableImage, decode
from proxy.admission import Admission, SizeClass, pixels
from proxy.batcher import Item
from proxy.errors import Cause, NotReady, Overloaded, Unauthorized
from proxy.settings import MIB, Settings
from tests.rsgi import request_of


class Accepting:
    """A service that takes uploads, unless it has a reason not to."""

    def __init__(self, cause=None):
        self.cause = cause

    def check_accepting(self):
        if self.cause:
            raise NotReady(self.cause)


def admission_of(health=None, batchers=None, **settings):
    return Admission(Settings(**settings), health or Accepting(), batchers or queues())


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer first"},
        {"authorization": "bearer second"},
        {"authorization": "Bearer  first "},
        {"x-api-key": "second"},
        {"x-api-key": "first", "authorization": "Basic Zm9vOmJhcg=="},
        {"x-api-key": "first", "authorization": "Bearer a-gateways-own-token"},
        {"x-api-key": "wrong", "authorization": "Bearer second"},
    ],
)
def test_any_of_the_keys_opens(headers):
    admission_of(api_keys=("first", "second")).check_key(request_of(headers=headers))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Basic first"},
        {"authorization": "first"},
        {"x-api-key": ""},
        {"x-api-key": "firs"},
        {"x-api-key": "firstsecond"},
        {"x-api-key": "First"},
        {"x-api-key": "\u00e9"},
    ],
)
def test_nothing_else_opens(headers):
    with pytest.raises(Unauthorized) as refusal:
        admission_of(api_keys=("first", "second")).check_key(request_of(headers=headers))
    assert refusal.value.status == 401
    assert ("www-authenticate", "Bearer") in refusal.value.headers


def test_without_keys_everybody_is_admitted():
    admission_of().check_key(request_of())


def test_every_key_is_compared_in_constant_time(monkeypatch):
    compared, compare = [], hmac.compare_digest

    def watched(offered, key):
        compared.append((offered, key))
        return compare(offered, key)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    headers = {"x-api-key": "first", "authorization": "Bearer second"}
    admission_of(api_keys=("first", "second")).check_key(request_of(headers=headers))
    offered = (b"second", b"first")
    assert compared == [(one, key) for one in offered for key in (b"first", b"second")]


def test_a_refusal_names_the_state_as_its_cause():
    with pytest.raises(NotReady) as refusal:
        admission_of(Accepting(Cause.STARTING)).check(None)
    assert refusal.value.cause is Cause.STARTING


class Queue:
    """A batcher's queue, full or not; keeps what was submitted."""

    def __init__(self, cause, full=False):
        self.cause, self.full, self.items = cause, full, []

    def check_room(self, images=1):
        if self.full:
            raise Overloaded(self.cause)

    def submit(self, items):
        self.items += items


def queues(*full):
    return {each: Queue(Cause(f"{each.value}_queue_full"), each in full) for each in SizeClass}


def submitted(admission, *images, body=None):
    request = request_of()
    admission.reserve(request, body or sum(map(len, images)))
    items = [Item(image, 0, 0.0) for image in images]
    admission.submit(request, items)
    admission.release(request)


@pytest.mark.parametrize(
    ("full", "admitted", "refused"), [(SizeClass.SMALL, 10_000, 500), (SizeClass.LARGE, 500, 10_000)]
)
def test_a_full_queue_refuses_its_own_before_reading_bodies(full, admitted, refused):
    admission = admission_of(batchers=queues(full), small_request_bytes=2048)
    admission.check(admitted)
    admission.check(None)  # of unknown length: decided once it is read
    with pytest.raises(Overloaded) as refusal:
        admission.check(refused)
    assert refusal.value.cause is Cause(f"{full.value}_queue_full")


def test_requests_are_small_or_large_by_their_bytes():
    found = queues()
    admission = admission_of(batchers=found, small_request_bytes=2048)
    small = picture("PNG", 10, 10)
    submitted(admission, small, body=2048)
    submitted(admission, small, body=2049)
    assert [len(found[each].items) for each in SizeClass] == [1, 1, 0]


def test_an_image_of_many_pixels_is_isolated_alone():
    found = queues()
    submitted(admission_of(batchers=found, isolated_pixels=10_000), picture("PNG", 100, 100), picture("PNG", 100, 101))
    assert [len(found[each].items) for each in SizeClass] == [1, 0, 1]


def test_where_one_group_has_no_room_none_is_queued():
    found = queues(SizeClass.ISOLATED)
    with pytest.raises(Overloaded) as refusal:
        submitted(admission_of(batchers=found, isolated_pixels=10_000), picture("PNG", 9, 9), picture("PNG", 200, 200))
    assert refusal.value.cause is Cause.ISOLATED_QUEUE_FULL
    assert not any(queue.items for queue in found.values())


def test_bodies_in_memory_are_bounded_but_one_alone_always_fits():
    admission = admission_of(max_buffered_bytes=MIB)
    first, second = request_of(), request_of()
    admission.reserve(first, 3 * MIB)
    admission.reserve(first, MIB)
    with pytest.raises(Overloaded) as refusal:
        admission.reserve(second, 1)
    assert refusal.value.cause is Cause.BUFFER_FULL
    assert (admission.buffered, second.buffered) == (4 * MIB, 0)
    admission.release(first)
    admission.reserve(second, MIB)
    assert admission.buffered == MIB


FORMATS = {
    "PNG": {},
    "GIF": {},
    "BMP": {},
    "JPEG": {"exif": b"Exif\0\0" + b"x" * 3000, "comment": b"c" * 100},
    "JPEG progressive": {"progressive": True},
    "WEBP": {"lossless": True},
    "WEBP lossy": {"lossless": False},
    "WEBP with alpha": {"lossless": False},
    "WEBP animated": {"save_all": True},
}


def picture(form, width, height):
    """A file of that format; the second word of it names a variant."""
    found = io.BytesIO()
    mode = "RGBA" if "alpha" in form else "RGB"
    image, other = (Image.new(mode, (width, height), (shade, 8, 7, 100)[: len(mode)]) for shade in (9, 200))
    more = {"append_images": [other]} if "animated" in form else {}
    image.save(found, form.split()[0], **FORMATS[form], **more)
    return found.getvalue()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (28, 29), (640, 480), (301, 2)])
def test_pixels_are_read_from_the_header_of_every_format(form, size):
    assert pixels(picture(form, *size)) == size[0] * size[1]


def tiff():
    found = io.BytesIO()
    Image.new("L", (4, 4)).save(found, "TIFF")
    return found.getvalue()


def avif():
    """Of items that name 65,535 empty places each; imagesize would list them for minutes."""

    def box(kind, content):
        return struct.pack(">I", 8 + len(content)) + kind + content

    items = b"".join(struct.pack(">HHH", item, 0, 0xFFFF) for item in range(10_000))
    locations = box(b"iloc", b"\0\0\0\0\0\0" + struct.pack(">H", 10_000) + items)
    return box(b"ftyp", b"avif\0\0\0\0avif") + box(b"meta", b"\0\0\0\0" + box(b"pitm", b"\0" * 6) + locations)


@pytest.mark.parametrize("data", [tiff(), b"\x89PNG", b"RIFF", b"BM"])
def test_an_image_without_a_header_that_is_read_has_unknown_many(data):
    assert pixels(data) == inf


@pytest.mark.parametrize(
    "data", [b"", b"hello", avif(), b"P5 " + b"1" * 70_000, b"<?xml version='1.0'?><svg width='9' height='9'/>"]
)
def test_what_is_no_image_waits_behind_no_huge_ones(data):
    assert pixels(data) == 0
    with pytest.raises(PictureError):
        decode(data)


@pytest.mark.parametrize("form", FORMATS)
def test_a_cut_off_header_is_unknown_or_the_same(form):
    data = picture(form, 30, 20)
    assert {pixels(data[:end]) for end in range(4, len(data))} <= {inf, 600}
    assert pixels(data[:9]) == inf


WEBP = [b"RIFF____WEBP" + kind for kind in (b"VP8 ", b"VP8L", b"VP8X")]
STARTS = [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", *WEBP]


@given(st.sampled_from(STARTS), st.binary(max_size=300))
def test_no_bytes_are_too_odd(start, rest):
    assert 0 <= pixels(start + rest) <= inf


@given(st.sampled_from(list(FORMATS)), st.data())
def test_no_damage_is_too_odd(form, data):
    image = bytearray(picture(form, 30, 20))
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(image) - 1), st.integers(0, 255)), max_size=8)):
        image[at] = value
    assert 0 <= pixels(bytes(image)) <= inf


@pytest.mark.parametrize("filling", [b"\xff", b"\xff\xe2\0\x02", b"\xff\xe1\x7f\xff" + bytes(0x7FFD)])
def test_a_jpegs_frame_is_found_behind_other_segments(filling):
    frame = picture("JPEG", 30, 20)[2:]
    assert pixels(b"\xff\xd8" + filling + frame) == 600


@pytest.mark.parametrize("filling", [b"\xff\xe0\0\x02", b"\xff"])
def test_the_search_for_a_jpegs_frame_ends_early(filling):
    """Eight megabytes of empty segments would hold up all other requests for a second."""
    frame = picture("JPEG", 30, 20)[2:]
    assert pixels(b"\xff\xd8" + filling * 4_000 + frame) == inf


@pytest.mark.parametrize("hidden", [b"\0", b"\xff\xd8", b"\xff\x01", b"\xff\xd0", b"\xff\x02"])
def test_no_other_frame_can_be_hidden_before_a_jpegs_own(hidden):
    """What passes for one pixel here is no image to the handler."""
    small, frame = b"\xff\xc0\0\x0b\x08\0\x01\0\x01\x01\x01\x11\0", picture("JPEG", 300, 200)[2:]
    assert decode(b"\xff\xd8" + frame).pixels.size
    for image in (b"\xff\xd8" + hidden + small + frame, b"\xff\xd8" + small + frame):
        if pixels(image) < 60_000:
            with pytest.raises(UndecodableImage):
                decode(image)


def test_a_bitmap_stored_top_down_has_as_many_pixels():
    bitmap = bytearray(picture("BMP", 5, 7))
    bitmap[22:26] = (-7).to_bytes(4, "little", signed=True)
    assert pixels(bytes(bitmap)) == 35


def test_white_images_of_any_format_are_as_large_as_they_are():
    for form in FORMATS:
        found = io.BytesIO()
        Image.new("RGB", (300, 200), "white").save(found, form.split()[0], **FORMATS[form])
        assert pixels(found.getvalue()) == 60_000
