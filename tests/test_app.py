"""Routing, ids, CORS and errors of the application, as a client sees them."""

import gc
import json
import weakref

import pytest
from proxy.request import Response

from proxy import errors
from tests.exchanges import Wire, app_of, ask, exchange_of


async def echo(request):
    return Response(200, b"{}")


async def broken(request):
    raise RuntimeError("a secret of the machine")


async def overloaded(request):
    raise errors.Overloaded()


ROUTES = {"/page": {"GET": echo}, "/api": {"POST": echo}, "/broken": {"GET": broken}, "/busy": {"POST": overloaded}}


def call(method, path, headers=None, origins=("*",), **app):
    wire = Wire()
    ask(app_of(ROUTES, origins, **app), exchange_of(method, path, headers, wire=wire))
    return wire


def error_of(wire):
    body = json.loads(wire.body)
    assert set(body) == {"success", "error"}
    assert set(body["error"]) == {"code", "message", "request_id"}
    assert body["success"] is False
    assert body["error"]["request_id"] == wire.headers["x-request-id"]
    return wire.status, body["error"]["code"]


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


def test_an_unknown_error_tells_the_client_nothing_and_the_log_everything(caplog):
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


@pytest.mark.parametrize("insane", ["", "a b", "x" * 129, "a\r\nset-cookie: b", "é", '<script>"'])
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


def test_origins_can_be_narrowed():
    mine = ("https://a.example", "https://b.example")
    granted = call("GET", "/page", {"Origin": "https://b.example"}, mine)
    assert granted.headers["access-control-allow-origin"] == "https://b.example"
    assert granted.headers["vary"] == "Origin"
    for headers in ({"Origin": "https://evil.example"}, {}):
        refused = call("GET", "/page", headers, mine)
        assert "access-control-allow-origin" not in refused.headers
        assert refused.headers["vary"] == "Origin"


def test_gates_stand_before_endpoints_but_not_before_preflights():
    def closed(request):
        raise errors.Unauthorized()

    app = app_of({"/api": {"POST": echo}}, gates={echo: [closed]})
    answers = {}
    for method in ("POST", "OPTIONS"):
        answers[method] = Wire()
        ask(app, exchange_of(method, "/api", wire=answers[method]))
    assert error_of(answers["POST"]) == (401, "unauthorized")
    assert answers["OPTIONS"].status == 204


def test_observers_see_every_request_once_answered():
    seen = []

    def observe(request, response):
        seen.append((request.path, response.status, request.code))

    call("GET", "/page", observers=[observe])
    call("GET", "/nowhere", observers=[observe])
    assert seen == [("/page", 200, ""), ("/nowhere", 404, "not_found")]


def test_every_error_has_its_own_code_and_a_sentence():
    def leaves(kind):
        below = kind.__subclasses__()
        return [kind] if not below else [leaf for k in below for leaf in leaves(k)]

    made = [k for k in leaves(errors.ServiceError) if k is not errors.PictureError]
    instances = [
        k(1) if k in (errors.BodyTooLarge, errors.TooManyImages) else k("GET") if k is errors.MethodNotAllowed else k()
        for k in made
    ]
    assert len({e.code for e in instances}) == len(instances)
    assert all(400 <= e.status < 600 and e.message.endswith(".") for e in instances)
    assert all(dict(e.headers).get("retry-after") for e in instances if e.status == 503)


def test_a_failed_request_is_gone_without_the_garbage_collector():
    """What it held, its body above all, must not wait in memory for the collector."""

    async def too_slow(request):
        result = errors.DeadlineExceeded()  # as endpoints have them: in a variable of the frame that raises
        raise result

    gc.disable()
    try:
        for endpoint in (too_slow, overloaded):
            exchange = exchange_of("POST", "/")
            held = weakref.ref(exchange)
            ask(app_of({"/": {"POST": endpoint}}), exchange)
            del exchange
            assert held() is None
    finally:
        gc.enable()
