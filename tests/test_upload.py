"""Bodies as clients send them, well and badly formed: what is taken as pictures and which error the rest gets."""

import asyncio
import gc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multipart import PushMultipartParser

from proxy import errors, upload
from tests.exchanges import file, multipart, request_of


def images_in(headers, body, most=1):
    return upload.images(request_of(body, headers), body, most)


def test_a_file_part_named_image_is_the_picture():
    assert images_in(*multipart(file("image", b"pixels"))) == [b"pixels"]


@given(st.binary(max_size=3000))
@settings(max_examples=50)
def test_every_byte_of_a_picture_arrives(picture):
    assert images_in(*multipart(file("image", picture), boundary="a-boundary-that-no-picture-holds")) == [picture]


def test_a_raw_body_is_the_picture():
    assert images_in({"Content-Type": "image/png"}, b"pixels") == [b"pixels"]


def test_other_parts_do_not_matter():
    parts = [('form-data; name="note"', b"hello"), file("other", b"x"), file("image", b"pixels"), file("Image", b"y")]
    assert images_in(*multipart(*parts)) == [b"pixels"]


@pytest.mark.parametrize("filename", ["", "../../etc/passwd", "a\\b.png", "né.png", "a%22b.png", "x" * 2000])
def test_any_file_name_will_do(filename):
    assert images_in(*multipart(file("image", b"pixels", filename))) == [b"pixels"]


def test_an_extended_file_name_makes_a_file_part_too():
    assert images_in(*multipart(("form-data; name=\"image\"; filename*=utf-8''%e2%82%ac", b"pixels"))) == [b"pixels"]


@pytest.mark.parametrize("kind", ["image/png", "text/plain", "application/x-anything; a=b"])
def test_any_part_type_will_do(kind):
    assert images_in(*multipart((*file("image", b"pixels"), kind))) == [b"pixels"]


def test_a_text_field_named_image_is_no_picture():
    with pytest.raises(errors.MissingImage):
        images_in(*multipart(('form-data; name="image"', b"pixels")))


def test_no_part_at_all():
    with pytest.raises(errors.MissingImage):
        images_in(*multipart())


def test_two_pictures_are_one_too_many_for_one_but_not_for_a_batch():
    form = multipart(file("image", b"a"), file("image", b"b"))
    with pytest.raises(errors.SeveralImages):
        images_in(*form)
    assert images_in(*form, most=2) == [b"a", b"b"]


def test_more_pictures_than_a_batch_may_have():
    with pytest.raises(errors.TooManyImages, match="at most 3"):
        images_in(*multipart(*[file("image", b"a")] * 4), most=3)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--cut--\r\n"),
        ("multipart/form-data; boundary=", b"--cut--\r\n"),
        ("multipart/form-data; boundary=" + "x" * 1025, b"--" + b"x" * 1025 + b"--\r\n"),
        ("multipart/form-data; boundary=cut", b""),
        ("multipart/form-data; boundary=cut", b"hello"),
        ("multipart/form-data; boundary=cut", multipart(file("image", b"pixels"))[1][:-12]),
        ("multipart/form-data; boundary=cut", b"--cut\r\nno colon\r\n\r\nx\r\n--cut--\r\n"),
        ("multipart/form-data; boundary=cut", b"--cut\r\nContent-Type: image/png\r\n\r\nx\r\n--cut--\r\n"),
        ("multipart/form-data; boundary=cut", multipart(*[("form-data; name=a", b"")] * (upload.PARTS + 1))[1]),
        ("multipart/form-data; boundary=cut", multipart(file("image", b"x", "y" * 9000))[1]),
    ],
)
def test_what_is_no_multipart(content_type, body):
    with pytest.raises(errors.MalformedMultipart):
        images_in({"Content-Type": content_type}, body)


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_mutated_bodies_only_ever_raise_our_own_errors(noise):
    headers, body = multipart(file("image", b"pixels"), file("image", b"more"))
    for at in range(0, len(body), 37):
        try:
            images_in(headers, body[:at] + noise + body[at + 5 :], most=2)
        except errors.BadUpload:
            continue


@pytest.mark.parametrize("kind", ["", "application/json", "text/html", "multipart/mixed; boundary=cut", "image"])
def test_types_that_are_not_taken(kind):
    with pytest.raises(errors.UnsupportedMediaType):
        upload.announced(request_of(headers={"Content-Type": kind}), 10)


def test_encoded_bodies_are_not_taken():
    with pytest.raises(errors.UnsupportedMediaType):
        upload.announced(request_of(headers={"Content-Type": "image/png", "Content-Encoding": "gzip"}), 10)


def test_an_announced_size_is_held_against_the_limit_before_anything_is_read():
    headers = {"Content-Type": "image/png", "Content-Length": "11"}
    with pytest.raises(errors.BodyTooLarge):
        upload.announced(request_of(headers=headers), 10)
    assert upload.announced(request_of(headers=headers), 11) == 11


def keep(request, size):
    request.size += size


def refuse(request, size):
    raise errors.Overloaded()


def test_an_endless_body_is_refused_while_it_streams():
    request = request_of(b"x" * 50_000, {"Content-Type": "image/png"}, whole=False)
    with pytest.raises(errors.BodyTooLarge):
        asyncio.run(asyncio.wait_for(upload.read(request, limit=5_000, seconds=5, hold=keep), 5))
    assert request.size == 0


def test_a_body_that_does_not_arrive_in_time():
    request = request_of(b"x" * 1_000, {"Content-Type": "image/png"}, whole=False)
    request.exchange.failed(TimeoutError)  # as the server says once `due` has passed
    with pytest.raises(errors.ClientTooSlow):
        asyncio.run(upload.read(request, limit=5_000, seconds=3, hold=keep))
    assert request.exchange.due == request.received + 3


@pytest.mark.parametrize(("headers", "limit"), [({}, 5_000), ({"Content-Length": "2500"}, 2_500)])
def test_the_body_is_read_whole(headers, limit):
    request = request_of(bytes(range(250)) * 10, headers)
    assert asyncio.run(upload.read(request, limit, seconds=5, hold=keep)) == bytes(range(250)) * 10
    assert request.size == 2500
    assert not request.exchange.held


def test_no_byte_is_kept_that_there_is_no_room_for():
    request = request_of(b"x" * 3_000, whole=False)
    with pytest.raises(errors.Overloaded):
        asyncio.run(asyncio.wait_for(upload.read(request, 4_000, seconds=5, hold=refuse), 5))
    assert request.size == 0


def test_a_body_that_ends_early():
    request = request_of(b"x" * 3_000, whole=False)
    request.exchange.failed(EOFError)
    with pytest.raises(errors.MalformedMultipart):
        asyncio.run(upload.read(request, 4_000, seconds=5, hold=keep))


part = st.tuples(
    st.sampled_from(["Content-Disposition", "content-disposition", "Content-disposition", "X-Disposition"]),
    st.sampled_from(["image", "Image", "picture"]),
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs", "Cc")), max_size=20),
    st.sampled_from(["", "Content-Type: image/png\r\n", "content-type: \r\n", "Content-Type:x/y\r\n", "X: é\r\n"]),
    st.one_of(st.binary(max_size=60), st.sampled_from([b"", b"\r\n--cut", b"\r\n--cut--\r\n", b"a\r\n--cut\r\n\r\nb"])),
)
boundaries = st.sampled_from(["cut", '"cut"', "cut ", "cu't", "cut; charset=x", "cut=", ""])
ends = st.sampled_from([b"\r\n--cut--\r\n", b"\r\n--cut--", b"\r\n--cut\r\n", b"--cut--\r\n", b"\r\n--cut--\r\nmore"])


@given(st.lists(part, min_size=1, max_size=3), boundaries, ends)
@settings(max_examples=1000)
def test_the_short_way_says_what_the_parser_says(parts, boundary, end):
    """Wherever the common form is recognised, the parser finds those same pictures."""
    written = [
        f'--cut\r\n{disposition}: form-data; name="{name}"; filename="{filename}"\r\n{kind}\r\n'.encode() + picture
        for disposition, name, filename, kind, picture in parts
    ]
    body = b"\r\n".join(written) + end
    content_type = f"multipart/form-data; boundary={boundary}"
    found = upload._common(content_type, body)
    if found is not None:
        assert upload._parse(body, upload.parse_options_header(content_type)[1]["boundary"]) == found


@pytest.mark.parametrize("by", ["curl", "requests", "a browser"])
def test_the_short_way_is_taken_for_what_clients_send(by):
    kind = {"curl": "image/png", "requests": None, "a browser": "image/png"}[by]
    boundary = {"curl": "-" * 24 + "5d9a", "requests": "0" * 32, "a browser": "----WebKitFormBoundaryAb3"}[by]
    part = (*file("image", b"\x89PNG\r\n"), *([kind] if kind else []))
    for count in (1, 3):
        headers, body = multipart(*[part] * count, boundary=boundary)
        assert upload._common(headers["Content-Type"], body) == [b"\x89PNG\r\n"] * count


def test_the_short_way_ends_where_the_parser_would():
    """A body of a million tiny parts must not be cut into them before it is refused."""
    headers, body = multipart(*[file("image", b"")] * (upload.PARTS + 1))
    assert upload._common(headers["Content-Type"], body) is None


@pytest.mark.parametrize("parts", [1, upload.PARTS + 1])
def test_a_malformed_body_is_gone_without_the_garbage_collector(parts):
    """A parser and its error that held each other kept the body until some later collection: megabytes a request."""
    part = b'--cut\r\nContent-Disposition: form-data; name="x"%s\r\n\r\n1\r\n'
    body = part % (b"" if parts > 1 else b"\r\nX-Long: " + b"a" * 100_000) * parts + b"--cut--\r\n"
    request = request_of(headers={"Content-Type": "multipart/form-data; boundary=cut"})
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(errors.MalformedMultipart) as raised:
            upload.images(request, body, most=1)
        del raised
        assert not [each for each in gc.get_objects() if type(each) is PushMultipartParser]
    finally:
        gc.enable()
