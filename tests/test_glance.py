"""Refusing at a glance: who is refused so, and that nobody can tell."""

import asyncio
import json
import os

import pytest

from http1 import Server
from http1.connection import LARGE
from proxy.access_log import AccessLog
from proxy.app import App
from proxy.cors import Cors
from proxy.errors import Overloaded
from proxy.glance import PATH, Glance
from proxy.metrics import Metrics
from tests.exchanges import Wire, app_of, ask, exchange_of

DATE = "date: Thu, 26 Nov 2026 08:00:00 GMT\r\n"
BODY = b"--cut\r\n\r\n--cut--\r\n"


async def overloaded(request):
    raise Overloaded()


def request(*lines, body=BODY, first=b"POST /api/mnist HTTP/1.1", length=None):
    size = b"Content-Length: %d" % (len(body) if length is None else length)
    return b"\r\n".join((first, b"Host: x", *lines, size)) + b"\r\n\r\n" + body


def glance(data, crowded=True, tally=(), origins=("*",)):
    glance = Glance(lambda crowded: crowded, Cors(origins).headers({}), tally)
    answer = glance(data, crowded, DATE)
    glance.look()
    return answer


@pytest.mark.parametrize("origins", [("*",), ("https://a.example",)])
def test_it_is_byte_for_byte_the_refusal_of_the_application(origins):
    class Raw(Wire):
        date = DATE

        def answer(self, exchange, data):
            self.data = data

    wire = Raw()
    ask(
        app_of({PATH: {"POST": overloaded}}, origins),
        exchange_of(headers={"X-Request-Id": "abc-1"}, body=BODY, wire=wire),
    )
    assert glance(request(b"X-Request-Id: abc-1"), origins=origins) == wire.data


def test_who_brings_no_id_is_given_one():
    seen = []
    answer = glance(request(b"content-type: image/png"), tally=[seen.append])
    head, _, body = answer.partition(b"\r\n\r\n")
    [[(_, id)]] = seen
    assert json.loads(body)["error"]["request_id"] == id
    assert b"x-request-id: %b\r\n" % id.encode() in head
    assert int(head.split(b"content-length: ")[1]) == len(body)


def test_nobody_is_refused_while_there_is_no_overload():
    assert glance(request(), crowded=False) is None


@pytest.mark.parametrize(
    "data",
    [
        request(first=b"POST /api/mnist/batch HTTP/1.1"),
        request(first=b"POST /api/mnist?details=1 HTTP/1.1"),
        request(first=b"GET /api/mnist HTTP/1.1"),
        request(first=b"POST /api/mnist HTTP/1.0"),
        request(b"Connection: close"),
        request(b"Expect: 100-continue"),
        request(b"Transfer-Encoding: chunked"),
        request(b"Origin: https://a.example"),
        request(b"Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        request(b"Upgrade: websocket"),
        request(b"X-Request-Id: no sane one"),
        request(b"Content-Length: 3"),
        request(b"Accept : */*"),
        request(b"Accept: a\n b"),
        request(*[b"Accept: */*"] * 30),
        request(length=len(BODY) + 1),
        request(length=len(BODY) - 1),
        request() + request(),
        request()[:30],
        b"\r\n" + request(),
        b"",
        b"\x00" * 100,
    ],
)
def test_every_other_form_is_left_to_the_parser(data):
    assert glance(data) is None


def test_it_looks_at_long_heads_in_no_time():
    for length in (10, 20):
        assert glance(request(*[b"Accept:" + b" " * 500] * length, b"Odd: 1")) is None


def test_a_refusal_is_counted_and_logged_as_any_other():
    read, write = os.pipe()
    metrics, log = Metrics(), AccessLog("json", write)
    routes = {PATH: {"POST": overloaded}}
    metrics.endpoints(routes)
    app = app_of(routes, observers=(metrics.observe, log.observe))
    ask(app, exchange_of(headers={"X-Request-Id": "abc-1"}))
    glance(request(b"X-Request-Id: abc-2"), tally=(metrics.refusals(PATH, Overloaded), log.refused))
    log.close()
    os.close(write)
    lines = [json.loads(line) for line in os.read(read, 10_000).splitlines()]
    assert [line.pop("id") for line in lines] == ["abc-1", "abc-2"]
    parsed, refused = ({**line, "time": line["time"][:16], "ms": {**line["ms"], "total": 0.0}} for line in lines)
    assert parsed == refused
    text = asyncio.run(metrics.endpoint(None)).body.decode()
    assert 'mnist_requests_total{code="overloaded",endpoint="/api/mnist",status="503"} 2.0' in text
    assert 'mnist_request_seconds_count{endpoint="/api/mnist"} 2.0' in text


def test_a_line_for_people():
    read, write = os.pipe()
    log = AccessLog("text", write)
    log.refused([(0.0, "abc-2")])
    log.close()
    os.close(write)
    size = len(Overloaded().body("abc-2"))
    assert os.read(read, 1000).endswith(b" 503 POST /api/mnist overloaded 0.0 ms 0 B in, %d B out, id abc-2\n" % size)


def test_the_server_shows_it_what_begins_a_request_and_nothing_else(monkeypatch):
    shown = []

    def note(data, crowded, date):
        shown.append(data)
        return b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n" if b"refuse" in data else None

    async def patient(request):
        while await request.exchange.piece():
            pass
        raise Overloaded()

    async def scenario():
        app = App({"/": {"POST": patient}}, Cors(("*",)), {}, ())
        server = Server(app, glance=note)
        server.listen("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.listener.getsockname())
        for piece, answers in (
            (b"POST / HTTP/1.1\r\nHost: refuse\r\n", 1),  # answered as it comes: it looks whole to this one
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nre", 0),
            (b"fuse", 1),  # the rest of a body
            (b"refuse again", 1),
        ):
            writer.write(piece)
            for _ in range(answers):
                assert b" 50" in await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.05)
        for piece, answers in (
            (b"POST / HTTP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.1\r\nX: ", 1),  # and the next one's head has begun
            (b"refuse", 0),
            (b"\r\nHost: x\r\n\r\n", 1),
        ):
            writer.write(piece)
            for _ in range(answers):
                assert b"503 Service" in await reader.readuntil(b"\r\n\r\n")
                await reader.readuntil(b"}}")
            await asyncio.sleep(0.05)
        assert len(shown) == 4
        monkeypatch.setattr("http1.server.CROWD", -1)  # from now on it is asked as it comes
        [connection] = server.connections
        for piece in (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n", b"fuse"):  # at the same moment
            connection.data_received(piece)
        assert b" 50" in await reader.readuntil(b"\r\n\r\n")
        for piece in (
            b"POST / HTTP/1.1\r\nHost: refuse\r\n\r\n" + b" " * LARGE,
            b"refuse what comes after a large one",
        ):
            writer.write(piece)
            assert b" 503 " in await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await server.stop()

    asyncio.run(asyncio.wait_for(scenario(), 10))
    assert b"fuse" not in shown
    assert sum(data.startswith(b"POST") for data in shown) == 5


def test_refusals_lines_are_bounded_as_all_lines_are(monkeypatch):
    monkeypatch.setattr("proxy.access_log.MOST", 500)
    monkeypatch.setattr("proxy.access_log.PERIOD", 60)
    read, write = os.pipe()
    log = AccessLog("json", write)
    for _ in range(2):
        log.refused([(0.0, f"abc-{number}") for number in range(3)])
        log.look()
    log.close()
    os.close(write)
    assert [json.loads(line)["id"] for line in os.read(read, 10_000).splitlines()] == ["abc-0", "abc-1", "abc-2"]
    assert log.lost == 3
