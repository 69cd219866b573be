"""Bodies as clients send them, well and badly formed: what is taken as images and which error the rest gets."""

import asyncio
import gc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multipart import PushMultipartParser

from proxy import app, errors, upload
from proxy.app import App, Response
from proxy.errors import Cause
from proxy.settings import Settings
from tests.rsgi import eventually, fetch, file, multipart, request_of, send, serving


def images_in(headers, body, most=1):
    return upload.images(request_of(headers=headers), body, most)


def test_a_file_part_named_image_is_the_image():
    assert images_in(*multipart(file("image", b"pixels"))) == [b"pixels"]


@given(st.binary(max_size=3000))
@settings(max_examples=50)
def test_every_byte_of_an_image_arrives(image):
    assert images_in(*multipart(file("image", image), boundary="a-boundary-that-no-image-holds")) == [image]


def test_a_raw_body_is_the_image():
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


@pytest.mark.parametrize(
    "name",
    [
        "sieben-\u00fc.png".encode("latin-1"),
        "\u6570\u5b57.png".encode("shift-jis"),
        "\u6570\u5b57\u4e03.png".encode("gbk"),
        "\u6570\u5b57.png".encode(),
        b"\xff\xfe\x00.png",
    ],
)
def test_a_file_name_may_be_of_any_encoding(name):
    form = multipart((b'form-data; name="image"; filename="%b"' % name, b"pixels"))
    assert images_in(*form) == [b"pixels"]


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "IMAGE/PNG"])
def test_a_part_that_is_no_text_needs_no_file_name(kind):
    """RFC 7578, 4.2: urllib3, requests, aiohttp and axios send such parts."""
    assert images_in(*multipart(('form-data; name="image"', b"pixels", kind))) == [b"pixels"]


@pytest.mark.parametrize("fold", [b"\r\n ", b"\r\n\t"])
def test_a_folded_part_header(fold):
    form = multipart((b'form-data; name="image";' + fold + b'filename="7.png"', b"pixels", "image/png"))
    assert images_in(*form) == [b"pixels"]


@pytest.mark.parametrize("kind", [(), ("text/plain",), ("text/plain; charset=utf-8",)])
def test_a_text_field_named_image_is_no_image(kind):
    with pytest.raises(errors.MissingImage, match=r"has `image`, which is text\.$"):
        images_in(*multipart(('form-data; name="image"', b"pixels", *kind)))


def test_a_missing_image_names_the_parts_that_came():
    parts = [file("image[]", b"a"), file("file", b"b"), ('form-data; name="note"', b"c")]
    with pytest.raises(errors.MissingImage, match=r"This form has `image\[\]`, `file`, `note`, which is text\."):
        images_in(*multipart(*parts))


def test_a_missing_image_bounds_what_it_repeats():
    with pytest.raises(errors.MissingImage) as raised:
        images_in(*multipart(*(file("n" * 200, b"a") for _ in range(1000))))
    assert raised.value.message.endswith("`, 990 more.")
    assert len(raised.value.message) < 1000


def test_no_part_at_all():
    with pytest.raises(errors.MissingImage, match="no parts"):
        images_in(*multipart())


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; x=y"])
def test_a_form_without_a_boundary_is_malformed(kind):
    with pytest.raises(errors.MalformedMultipart, match="no boundary; do not set that header yourself"):
        images_in({"Content-Type": kind}, b"--cut--\r\n")


def test_two_images_are_accepted_in_a_batch_only():
    form = multipart(file("image", b"a"), file("image", b"b"))
    with pytest.raises(errors.SeveralImages):
        images_in(*form)
    assert images_in(*form, most=2) == [b"a", b"b"]


def test_more_images_than_a_batch_may_have():
    with pytest.raises(errors.TooManyImages, match="at most 3"):
        images_in(*multipart(*[file("image", b"a")] * 4), most=3)


@pytest.mark.parametrize("most", [1, 256, 4096])
def test_many_more_images_than_that(most):
    with pytest.raises((errors.TooManyImages, errors.SeveralImages)):
        images_in(*multipart(*[file("image", b"a")] * 5000), most=most)
    assert len(images_in(*multipart(*[file("image", b"a")] * most), most=most)) == most


@pytest.mark.parametrize("fold", [b"\r\n x", b"\r\n\tx", b"x"])
def test_the_headers_of_all_parts_together_are_bounded(fold):
    """A folded line takes the parser a microsecond, in which nobody else is served: seconds for all that fit a body."""
    headers, body = multipart(*[(b'form-data; name="image"; x="' + 900 * fold + b'"', b"pixels", "image/png")] * 1000)
    with pytest.raises(errors.MalformedMultipart, match="headers of the form's parts are too large"):
        images_in(headers, body, most=1000)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data; boundary=cut", b""),
        ("multipart/form-data; boundary=cut", b"hello"),
        ("multipart/form-data; boundary=cut", multipart(file("image", b"pixels"))[1][:-12]),
        ("multipart/form-data; boundary=cut", b"--cut\r\nno colon\r\n\r\nx\r\n--cut--\r\n"),
        ("multipart/form-data; boundary=cut", b"--cut\r\nContent-Type: image/png\r\n\r\nx\r\n--cut--\r\n"),
        ("multipart/form-data; boundary=cut", multipart(*[("form-data; name=a", b"")] * (upload.MAX_PARTS + 2))[1]),
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
        except errors.BadRequest:
            continue


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "application/json",
        "text/html",
        "multipart/mixed; boundary=cut",
        "multipart/form-datax; boundary=cut",
        "image",
    ],
)
def test_types_that_are_not_taken(kind):
    with pytest.raises(errors.UnsupportedMediaType):
        upload.check_headers(request_of(headers={"Content-Type": kind}), 10)


def test_encoded_bodies_are_not_taken():
    with pytest.raises(errors.UnsupportedMediaType):
        upload.check_headers(request_of(headers={"Content-Type": "image/png", "Content-Encoding": "gzip"}), 10)


def test_an_announced_size_over_the_limit_is_refused_unread():
    headers = {"Content-Type": "image/png", "Content-Length": "11"}
    with pytest.raises(errors.BodyTooLarge):
        upload.check_headers(request_of(headers=headers), 10)
    assert upload.check_headers(request_of(headers=headers), 11) == 11


class Body:
    """A body that the real server receives: the bytes `kept` so far, then its `data` or the `error`."""

    def __init__(self, length_known, limit=200_000, room=1 << 30, idle=5.0, rate=1):
        self._known, self._limit, self._room = length_known, limit, room
        self._reader = upload.Reader(Settings(body_idle_seconds=idle, body_bytes_per_second=rate), self.reserve)
        self.kept, self.error, self.data = 0, None, None

    def reserve(self, request, size):
        if self.kept + size > self._room:
            raise errors.Overloaded(Cause.BUFFER_FULL)
        self.kept += size

    async def endpoint(self, request):
        length = upload.check_headers(request, self._limit) if self._known else None
        try:
            self.data = await self._reader.read(request, length, self._limit)
        except errors.ServiceError as error:
            self.error = error
            raise
        return Response(200, b"{}")


def received(body, scenario):
    """Run `scenario(port)` against a server that reads uploads into `body`; what it returns."""

    async def served():
        async with serving(App({"/": ("POST", body.endpoint)}, ("*",), ())) as port:
            return await asyncio.wait_for(scenario(port), 30)

    return asyncio.run(served())


def head(*lines):
    return b"\r\n".join((b"POST / HTTP/1.1", b"Host: a", b"Content-Type: image/png", *lines, b"", b""))


@pytest.mark.parametrize("size", [0, 1, 2500, upload.READ_WHOLE, upload.READ_WHOLE + 1, 150_000])
@pytest.mark.parametrize("length_known", [True, False])
def test_the_body_is_read_whole(size, length_known):
    data = (bytes(range(251)) * 600)[:size]
    body = Body(length_known)
    answer = received(body, lambda port: fetch(port, "/", data, {"Content-Type": "image/png"}))
    assert answer.status == 200
    assert body.data == data
    assert body.kept == size


def test_an_endless_body_is_refused_while_it_streams():
    async def endless():
        while True:
            yield b"x" * 10_000

    body = Body(True, limit=50_000)
    answer = received(body, lambda port: fetch(port, "/", endless(), {"Content-Type": "image/png"}))
    assert answer.status == 413
    assert body.kept <= 50_000


@pytest.mark.parametrize("length", [1000, upload.READ_WHOLE + 1000])
def test_no_byte_is_kept_that_there_is_no_room_for(length):
    body = Body(True, room=500)
    answer = received(body, lambda port: fetch(port, "/", b"x" * length, {"Content-Type": "image/png"}))
    assert answer.status == 503
    assert body.kept == 0


@pytest.mark.parametrize(("length", "kept"), [(upload.READ_WHOLE, 0), (upload.READ_WHOLE + 1, 1000), (150_000, 1000)])
def test_memory_for_a_body_grows_as_it_arrives(length, kept):
    """A few slow clients that announce much would keep everybody out."""
    body = Body(True)

    async def scenario(port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(b"Content-Length: %d" % length) + b"x" * 1000)
        await eventually(lambda: body.kept == kept)
        await asyncio.sleep(0.1)
        assert body.kept == kept
        writer.close()

    received(body, scenario)


def test_a_body_in_very_many_small_pieces_is_refused():
    """Each costs the proxy's one thread as much as half an upload."""
    sent = head(b"Transfer-Encoding: chunked", b"Connection: close") + b"1\r\nx\r\n" * 8000 + b"0\r\n\r\n"
    body = Body(True)
    answer = received(body, lambda port: send(port, sent))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"too many small pieces" in answer
    assert body.kept < 1100


def test_pieces_may_be_small_if_they_are_few():
    sent = head(b"Transfer-Encoding: chunked", b"Connection: close") + b"1\r\nx\r\n" * 900 + b"0\r\n\r\n"
    body = Body(True)
    assert received(body, lambda port: send(port, sent)).startswith(b"HTTP/1.1 200 ")
    assert body.data == b"x" * 900


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        ({"limit": 50_000}, b"413"),
        ({"room": 50_000}, b"503"),
        ({"limit": 1 << 30, "idle": 0.1, "rate": 1 << 34}, b"408"),
    ],
)
def test_a_client_refused_in_the_middle_of_its_body_can_go_on_sending(limits, status):
    """A connection closed at once would break its `send`, and many clients then do not look for an answer."""

    async def scenario(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(b"Transfer-Encoding: chunked"))
        for _ in range(200):
            writer.write(b"c350\r\n" + b"x" * 50_000 + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.001)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        answer = await reader.readuntil(b"}}")
        writer.close()
        return answer

    assert received(Body(True, **limits), scenario).startswith(b"HTTP/1.1 %b " % status)


@pytest.mark.parametrize(
    "announced", [b"Content-Length: 500", b"Content-Length: 100000", b"Transfer-Encoding: chunked\r\nX: y"]
)
def test_a_stalled_body_is_given_up(announced, monkeypatch):
    monkeypatch.setattr(app, "DISCARD_SECONDS", 0.1)
    body = Body(True, idle=0.2, rate=10_000)
    answer = received(body, lambda port: send(port, head(announced) + b"5\r\nhello\r\n"))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code": "client_too_slow"' in answer


def test_a_slow_but_steady_body_is_taken():
    """It takes twice as long altogether as it may stall."""
    body = Body(True, idle=0.5, rate=1)

    async def trickle():
        for _ in range(20):
            await asyncio.sleep(0.05)
            yield b"x" * 100

    answer = received(body, lambda port: fetch(port, "/", trickle(), {"Content-Type": "image/png"}))
    assert answer.status == 200
    assert len(body.data) == 2000


def test_a_small_body_that_trickles_above_the_least_rate_is_taken():
    """It is read in one piece, and takes twice as long as a body may stall."""
    body = Body(True, idle=0.5, rate=500)

    async def scenario(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(b"Content-Length: 1000", b"Connection: close"))
        for _ in range(20):
            await asyncio.sleep(0.05)
            writer.write(b"x" * 50)
        return await reader.read()

    assert received(body, scenario).startswith(b"HTTP/1.1 200 ")
    assert len(body.data) == 1000


def test_a_body_below_the_least_rate_is_refused():
    body = Body(True, idle=0.3, rate=1_000_000)

    async def trickle():
        while True:
            await asyncio.sleep(0.05)
            yield b"x"

    answer = received(body, lambda port: fetch(port, "/", trickle(), {"Content-Type": "image/png"}))
    assert answer.status == 408


@pytest.mark.parametrize("length", [500, 100_000])
def test_a_body_that_ends_early_is_no_upload(length):
    body = Body(True)

    async def scenario(port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(b"Content-Length: %d" % length) + b"x" * 100)
        await writer.drain()
        writer.close()
        await eventually(lambda: body.error)

    received(body, scenario)
    assert isinstance(body.error, errors.MalformedMultipart)
    assert body.data is None


@pytest.mark.parametrize("parts", [1, upload.MAX_PARTS + 2])
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
