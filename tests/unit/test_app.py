"""Routing, ids, CORS, errors and disconnects of the application, as a client of the real HTTP server sees them."""

import asyncio
import gc
import json
import weakref

import pytest

from proxy import errors
from proxy.app import App, Response
from proxy.errors import Cause
from tests.rsgi import eventually, fetch, send, serving


async def echo(request):
    return Response(200, b"{}")


async def broken(request):
    raise RuntimeError("a secret of the machine")


async def overloaded(request):
    raise errors.Overloaded(Cause.SMALL_QUEUE_FULL)


async def upload(request):
    return Response(200, await request.protocol())


ROUTES = {
    "/page": ("GET", echo),
    "/api": ("POST", echo),
    "/broken": ("GET", broken),
    "/busy": ("POST", overloaded),
    "/upload": ("POST", upload),
}


def run(scenario, *, routes=ROUTES, origins=("*",), observers=()):
    """Run `scenario(port, app)` against a server of these routes."""

    async def served():
        app = App(routes, origins, observers)
        async with serving(app) as port:
            return await asyncio.wait_for(scenario(port, app), 30)

    return asyncio.run(served())


def call(method, path, headers=None, **app):
    return run(lambda port, _: fetch(port, path, headers=headers, method=method), **app)


def error_of(answer):
    body = json.loads(answer.body)
    assert set(body) == {"success", "error"}
    assert set(body["error"]) == {"code", "message", "request_id"}
    assert body["success"] is False
    assert body["error"]["request_id"] == answer.headers["x-request-id"]
    return answer.status, body["error"]["code"]


def test_paths_and_methods():
    assert call("GET", "/page").status == 200
    assert call("POST", "/api").status == 200
    assert error_of(call("GET", "/nowhere")) == (404, "not_found")
    refused = call("DELETE", "/page")
    assert error_of(refused) == (405, "method_not_allowed")
    assert refused.headers["allow"] == "GET, HEAD, OPTIONS"
    assert call("GET", "/api").headers["allow"] == "POST, OPTIONS"


def test_head_is_get_without_a_body():
    answer = call("HEAD", "/page")
    assert (answer.status, answer.body) == (200, b"")


def test_unknown_errors_are_described_in_the_log_only(caplog):
    answer = call("GET", "/broken", {"X-Request-Id": "abc-1"})
    assert error_of(answer) == (500, "internal_error")
    assert b"secret" not in answer.body
    assert "abc-1" in caplog.text
    assert "a secret of the machine" in caplog.text


def test_refusals_say_when_to_come_back():
    answer = call("POST", "/busy")
    assert error_of(answer) == (503, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("sane", ["abc", "0af7651916cd43dd8448eb211c80319c", "a.b:c/d+e=f@g_h-i"])
def test_a_sane_request_id_is_the_callers(sane):
    assert call("GET", "/page", {"X-Request-Id": sane}).headers["x-request-id"] == sane


@pytest.mark.parametrize("insane", ["", "a b", "x" * 129, "é", '<script>"'])
def test_any_other_is_replaced(insane):
    fresh = call("GET", "/page", {"X-Request-Id": insane}).headers["x-request-id"]
    assert fresh != insane
    assert len(fresh) == 16


def test_every_page_may_call_by_default():
    assert call("GET", "/page", {"Origin": "https://a.example"}).headers["access-control-allow-origin"] == "*"
    preflight = call("OPTIONS", "/api", {"Origin": "https://a.example"})
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "POST" in preflight.headers["access-control-allow-methods"]


@pytest.mark.parametrize(
    "asked",
    [
        "cache-control,x-requested-with",  # Dropzone
        "baggage, sentry-trace, traceparent, tracestate",
        "authorization, content-type, x-api-key",
    ],
)
def test_a_preflight_grants_the_headers_that_it_asks_for(asked):
    preflight = call("OPTIONS", "/api", {"Origin": "https://a.example", "Access-Control-Request-Headers": asked})
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-headers"] == asked
    assert "Access-Control-Request-Headers" in preflight.headers["vary"]


@pytest.mark.parametrize("asked", ["<script>", "x" * 2000, "é"])
def test_what_is_no_list_of_header_names_is_not_repeated(asked):
    preflight = call("OPTIONS", "/api", {"Access-Control-Request-Headers": asked})
    assert preflight.status == 204
    assert "access-control-allow-headers" not in preflight.headers


def test_origins_can_be_narrowed():
    mine = ("https://a.example", "https://b.example")
    granted = call("GET", "/page", {"Origin": "https://b.example"}, origins=mine)
    assert granted.headers["access-control-allow-origin"] == "https://b.example"
    assert granted.headers["vary"] == "Origin"
    for headers in ({"Origin": "https://evil.example"}, {}):
        refused = call("GET", "/page", headers, origins=mine)
        assert "access-control-allow-origin" not in refused.headers
        assert refused.headers["vary"] == "Origin"


def test_refusals_and_errors_can_be_read_by_other_origins_too():
    for path in ("/busy", "/nowhere"):
        assert call("POST", path, {"Origin": "https://a.example"}).headers["access-control-allow-origin"] == "*"


def test_observers_see_every_request_once_it_is_answered():
    seen = []

    def observe(request, response):
        seen.append((request.path, response.status, request.code, request.cause))

    call("GET", "/page?details=1", observers=[observe])
    call("GET", "/nowhere", observers=[observe])
    call("POST", "/busy", observers=[observe])
    assert seen == [
        ("/page", 200, "", Cause.NONE),
        ("/nowhere", 404, "not_found", Cause.NONE),
        ("/busy", 503, "overloaded", Cause.SMALL_QUEUE_FULL),
    ]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /page HTTP/1.1\r\n\r\n",
        b"GET /page HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /page HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    ],
)
def test_http_1_1_without_exactly_one_host_is_refused(head):
    answer = run(lambda port, _: send(port, head))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code": "bad_header"' in answer


def test_http_1_0_needs_no_host():
    assert run(lambda port, _: send(port, b"GET /page HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.0 200 ")


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Content-Length: -1\r\n",
    ],
)
def test_a_body_whose_length_is_in_doubt_is_refused(lines):
    """A proxy in front might read another length: request smuggling (RFC 9112, 6.3)."""
    request = b"POST /upload HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\nabc"
    answer = run(lambda port, _: send(port, request))
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 "))


def test_chunks_count_where_a_length_came_too():
    request = (
        b"POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    )
    answer = run(lambda port, _: send(port, request))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\nhello")


def test_pipelined_requests_are_answered_in_order():
    requests = [b"GET /page HTTP/1.1\r\nHost: a\r\nX-Request-Id: id-%d\r\n" % i for i in range(5)]
    answer = run(lambda port, _: send(port, b"\r\n".join(requests) + b"Connection: close\r\n\r\n"))
    assert answer.count(b"HTTP/1.1 200 ") == 5
    places = [answer.index(b"x-request-id: id-%d\r\n" % i) for i in range(5)]
    assert places == sorted(places)


def test_while_closing_every_response_asks_the_client_to_close():
    async def scenario(port, app):
        before = await fetch(port, "/api")
        app.closing = True
        return before, await send(port, b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n"), await fetch(port, "/busy")

    before, after, refused = run(scenario)
    assert "connection" not in before.headers
    assert b"connection: close" in after.lower()
    assert refused.headers["connection"] == "close"


def test_a_client_that_leaves_ends_the_work_for_it():
    ended, seen = [], []

    async def slow(request):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(request.path)
            raise

    async def scenario(port, app):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually(lambda: app.in_flight)
        writer.close()
        await eventually(lambda: ended)
        await eventually(lambda: not app.in_flight)

    def observe(request, response):
        seen.append((request.path, response.status))

    run(scenario, routes={"/slow": ("GET", slow)}, observers=[observe])
    assert ended == ["/slow"]
    assert seen == [("/slow", 499)]


def concrete(kind=errors.ServiceError):
    """The errors that are raised, without the classes that only group them."""
    below = [leaf for each in kind.__subclasses__() for leaf in concrete(each)]
    return below or [kind]


def made(kind):
    """An instance of an error."""
    arguments = {
        errors.BodyTooLarge: (1,),
        errors.TooManyImages: (1,),
        errors.MethodNotAllowed: ("GET",),
        errors.MissingImage: ((),),
        errors.Overloaded: (Cause.BUFFER_FULL,),
        errors.NotReady: (Cause.STARTING,),
        errors.ImageError: (422, "undecodable_image", "This is no image."),
    }
    return kind(*arguments.get(kind, ()))


def test_every_error_has_its_own_code_and_a_sentence():
    instances = [made(kind) for kind in concrete()]
    assert len({error.code for error in instances}) == len(instances)
    assert all(400 <= error.status < 600 and error.message.endswith(".") for error in instances)
    assert all(dict(error.headers).get("retry-after") for error in instances if error.status == 503)


@pytest.mark.parametrize("text", ['"quoted"', "line\nbreak", "é\u2028", "\x00"])
def test_an_error_body_is_json_whatever_its_message(text):
    body = json.loads(errors.ImageError(422, "undecodable_image", text).body("abc"))
    assert body["error"] == {"code": "undecodable_image", "message": text, "request_id": "abc"}


def test_a_failed_request_is_gone_without_the_garbage_collector():
    """What it held, its body above all, must not wait in memory for the collector."""
    held = []

    class Body:
        """Stands for the bytes of an upload, which take no weak reference."""

    async def too_slow(request):
        body = Body()
        held.append(weakref.ref(body))
        result = errors.DeadlineExceeded()  # as endpoints have them: in a variable of the frame that raises
        raise result

    async def scenario(port, _):
        answer = await fetch(port, "/")
        await asyncio.sleep(0)
        return answer, held[0]()

    gc.disable()
    try:
        answer, body = run(scenario, routes={"/": ("POST", too_slow)})
    finally:
        gc.enable()
    assert answer.status == 504
    assert body is None
