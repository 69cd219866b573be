"""The HTTP server over real sockets: requests in turn, bodies in pieces, clients slow, deaf, broken or gone."""

import asyncio
import gc
import itertools
import re
import socket
import struct
import time
import weakref
from contextlib import asynccontextmanager, suppress

import pytest
import uvloop

from http1 import Server, connection
from http1 import reader as reader_module
from http1 import server as server_module
from proxy.watch import watch

GET = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"


def post(body, announced=None, head=b""):
    length = len(body) if announced is None else announced
    return b"POST /echo HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (head, length, body)


class Application:
    """Echoes; `/wait` until told, `/unread` without reading, `/forget` never; notes what became of each exchange."""

    def __init__(self):
        self.told, self.seen = asyncio.Event(), []

    async def __call__(self, exchange):
        try:
            body = b""
            if exchange.path == "/wait":
                await self.told.wait()
            if exchange.path == "/forget":
                return
            if exchange.path == "/slow":
                exchange.due = 0.0
            if exchange.path != "/unread":
                while piece := await exchange.piece():
                    body += piece
            exchange.respond(200, [("x-path", exchange.path)], body or exchange.path.encode())
            self.seen.append((exchange.method, exchange.path, exchange.query, len(body)))
        except (EOFError, TimeoutError, asyncio.CancelledError) as error:
            self.seen.append(type(error).__name__)
            if not isinstance(error, asyncio.CancelledError):
                exchange.respond(400, [], type(error).__name__.encode())


@asynccontextmanager
async def serving(**options):
    application = Application()
    server = Server(application, **options)
    server.listen("127.0.0.1", 0)
    looking = asyncio.create_task(watch(server.look))
    try:
        yield application, server, server.listener.getsockname()[1]
    finally:
        await server.stop()
        looking.cancel()


async def until(happened, seconds=10):
    """Wait for it; longer than needed only where it does not happen."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def run(scenario, **options):
    async def main():
        async with serving(**options) as served, asyncio.timeout(30):
            return await scenario(*served)

    return asyncio.run(main())


async def answer(reader):
    """Status, headers, body of the next answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, await reader.readexactly(int(headers.get("content-length", 0)))


async def exchanged(port, *sent, pause=0.02, end=False):
    """All that comes back for these pieces until the server closes, or nothing has come for a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in sent:
        writer.write(piece)
        await asyncio.sleep(pause)
    if end:
        writer.write_eof()
    got = b""
    with suppress(TimeoutError, ConnectionResetError):
        while piece := await asyncio.wait_for(reader.read(65536), 1):
            got += piece
        writer.close()
        return got, True
    writer.close()
    return got, False


def test_one_request_after_the_other_on_one_connection():
    async def scenario(application, server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in (b"one", b"", b"x" * 300_000):
            writer.write(post(body))
            status, headers, echoed = await answer(reader)
            assert (status, echoed) == (200, body or b"/echo")
            assert headers["date"].endswith("GMT")
            assert "connection" not in headers
        assert len(server.connections) == 1
        writer.close()

    run(scenario)


def test_requests_sent_at_once_are_answered_in_their_order():
    async def scenario(application, server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET % b"wait" + b"".join(GET % b"%d" % n for n in range(50)) + post(b"last"))
        await asyncio.sleep(0.1)
        application.told.set()
        paths = [(await answer(reader))[1]["x-path"] for _ in range(52)]
        assert paths == ["/wait", *(f"/{n}" for n in range(50)), "/echo"]
        writer.close()

    run(scenario)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_any_cut_of_the_bytes_is_the_same_request(size):
    async def scenario(application, server, port):
        sent = post(b"body " * 30, head=b"X-A: b\r\n")
        got, _ = await exchanged(port, *(sent[at : at + size] for at in range(0, len(sent), size)), pause=0.001)
        assert got.startswith(b"HTTP/1.1 200 ")
        assert got.endswith(b"body " * 30)

    run(scenario)


def test_chunks():
    async def scenario(application, server, port):
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        got, closed = await exchanged(port, head, b"3\r\nabc\r\n", b"2;x=y\r\nde\r\n0\r\n\r\n")
        assert got.endswith(b"abcde")
        assert not closed

    run(scenario)


def test_who_waits_for_leave_to_send_the_body_gets_it_only_where_it_is_read():
    async def scenario(application, server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(b"", 5, b"Expect: 100-continue\r\n"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        for piece in (b"hel", b"lo"):  # it is told once
            writer.write(piece)
            await asyncio.sleep(0.02)
        assert (await answer(reader))[2] == b"hello"
        writer.write(post(b"", 5, b"Expect: 100-continue\r\n").replace(b"/echo", b"/unread"))
        status, headers, _ = await answer(reader)
        assert (status, headers["connection"]) == (200, "close")
        writer.close()

    run(scenario)


def test_targets():
    async def scenario(application, server, port):
        for target in (b"/a%20b?c=%20d", b"http://x/a%20b?c=%20d"):
            await exchanged(port, b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % target)
        assert application.seen == [("GET", "/a b", "c=%20d", 0)] * 2

    run(scenario)


def test_head_has_the_length_and_not_the_body():
    async def scenario(application, server, port):
        got, _ = await exchanged(port, b"HEAD /four HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"content-length: 5\r\n" in got
        assert got.endswith(b"\r\n\r\n")

    run(scenario)


@pytest.mark.parametrize("head", [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"])
def test_who_wants_the_connection_closed_gets_that(head):
    async def scenario(application, server, port):
        got, closed = await exchanged(port, head)
        assert b"connection: close\r\n" in got
        assert closed

    run(scenario)


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\n%bTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n%b\r\n"


@pytest.mark.parametrize(
    "sent",
    [post(b"hello", head=UPGRADE), CHUNKED % (UPGRADE, b""), b"GET /hello HTTP/1.1\r\nHost: x\r\n%b\r\n" % UPGRADE],
)
def test_an_upgrade_is_not_taken_and_the_request_is_answered(sent):
    async def scenario(application, server, port):
        for pieces in ([sent, sent], [sent + sent], [sent[:-20], sent[-20:] + sent]):
            got, closed = await exchanged(port, *pieces)
            assert got.count(b"HTTP/1.1 200 ") == len(re.findall(rb"\r\n\r\n/?hello", got)) == 2
            assert not closed
        got, closed = await exchanged(port, sent, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 200 ")
        assert got.count(b"HTTP/1.1 400 ") == 1
        assert closed

    run(scenario)


def test_trailers_are_nobodys_headers():
    async def scenario(application, server, port):
        seen = []

        async def note(exchange):
            seen.append(exchange.headers)
            while await exchange.piece():
                pass
            exchange.respond(200, [], b"")

        server.application = note
        await exchanged(port, CHUNKED % (b"", b"X-API-Key: evil\r\nX-Request-Id: evil\r\n") + GET % b"next")
        await exchanged(port, CHUNKED % (b"", b"X-API-Key: evil\r\n"), GET % b"next")
        assert [set(headers) for headers in seen] == [{"host", "transfer-encoding"}, {"host"}] * 2

    run(scenario)


@pytest.mark.parametrize("trailer", [b"X: a\r\n" * 10, b"a" * 50])
def test_trailers_without_end_are_cut_off(trailer):
    async def scenario(application, server, port):
        begun = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: "
        got, closed = await exchanged(port, begun, *[trailer * 1000] * 4)
        assert got.endswith(b"EOFError")
        assert closed

    run(scenario)


BROKEN = {
    "not HTTP": (b"\x00\x01\x02\r\n\r\n", b"400"),
    "a head over the limit": (b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000, b"431"),
    "too many headers": (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(200)) + b"\r\n", b"431"),
    "too long a target": (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", b"414"),
    "endless target": (b"GET /" + b"a" * 200_000, b"414"),
    "two lengths": (post(b"", head=b"Content-Length: 5\r\n"), b"400"),
    "a length and chunks": (post(b"", head=b"Transfer-Encoding: chunked\r\n"), b"400"),
    "a length of too many digits": (b"POST / HTTP/1.1\r\nContent-Length: %s1\r\n\r\n" % (b"0" * 5000), b"400"),
    "another encoding": (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", b"400"),
    "a method nobody knows": (b"BREW / HTTP/1.1\r\n\r\n", b"400"),
    "an address that is none": (b"GET http://[ HTTP/1.1\r\n\r\n", b"400"),
    "a bare line feed": (b"GET / HTTP/1.1\r\nX: a\n b\r\n\r\n", b"400"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_request_is_told_so_and_closed(name):
    async def scenario(application, server, port):
        sent, status = BROKEN[name]
        got, closed = await exchanged(port, sent, b"more " * 100_000)
        assert got.startswith(b"HTTP/1.1 " + status)
        assert got.count(b"HTTP/1.1") == 1
        assert closed
        assert application.seen == []

    run(scenario)


def test_what_is_broken_behind_a_good_request_takes_nothing_from_it():
    async def scenario(application, server, port):
        got, closed = await exchanged(port, GET % b"good" + b"\x00\x01\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 200 ")
        assert got.endswith(b"/good")
        assert closed

    run(scenario)


NO_CHUNK = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz"


@pytest.mark.parametrize(("sent", "end"), [(post(b"half", 8), True), (NO_CHUNK, False)])
def test_a_body_that_breaks_off_is_told_to_the_application(sent, end):
    async def scenario(application, server, port):
        got, closed = await exchanged(port, sent, b"\r\n" if not end else b"", end=end)
        assert got.endswith(b"EOFError")
        assert closed
        assert application.seen == ["EOFError"]

    run(scenario)


def test_a_body_that_is_late_is_told_to_the_application():
    async def scenario(application, server, port):
        got, closed = await exchanged(port, post(b"half", 8).replace(b"/echo", b"/slow"))
        assert got.endswith(b"TimeoutError")
        assert closed

    run(scenario)


def test_a_client_that_is_refused_while_it_sends_reads_why():
    async def scenario(application, server, port):
        got, closed = await exchanged(port, post(b"", 50_000_000).replace(b"/echo", b"/unread"), bytes(9_000_000))
        assert got.endswith(b"/unread")
        assert closed

    run(scenario)


def test_who_never_stops_sending_is_cut_off(monkeypatch):
    monkeypatch.setattr(connection, "LINGER_BYTES", 1_000_000)

    async def scenario(application, server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(b"", 10**9).replace(b"/echo", b"/unread"))
        assert (await answer(reader))[0] == 200
        with suppress(ConnectionError):
            for _ in range(1000):
                writer.write(bytes(100_000))
                await writer.drain()
            raise AssertionError("a hundred megabytes were taken")
        assert not server.connections

    run(scenario)


def test_a_body_is_read_no_faster_than_it_is_taken():
    async def scenario(application, server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(b"", 100_000_000).replace(b"/echo", b"/wait"))
        for _ in range(100):
            writer.write(bytes(200_000))
        await asyncio.sleep(0.3)
        [held] = [each._reader.exchange.held for each in server.connections]
        assert held < 2_000_000
        writer.transport.abort()

    run(scenario)


@pytest.mark.parametrize("reset", [True, False])
def test_a_client_that_leaves_ends_its_request(reset):
    async def scenario(application, server, port):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(GET % b"wait")
        await asyncio.sleep(0.1)
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        await until(lambda: application.seen == ["CancelledError"])
        await until(lambda: not server.connections)

    run(scenario)


def test_a_client_that_closes_only_its_own_side_is_answered():
    async def scenario(application, server, port):
        got, closed = await exchanged(port, GET % b"hello", end=True)
        assert got.endswith(b"/hello")
        assert closed
        reader, _ = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: server.connections)
        [held] = server.connections
        held.data_received(GET % b"wait" * 3)
        held.eof_received()  # at the same moment
        await until(lambda: not server._inbox)
        application.told.set()
        assert (await reader.read()).count(b"HTTP/1.1 200 ") == 3

    run(scenario)


def test_heads_that_do_not_come_and_connections_that_idle_are_closed(monkeypatch):
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)

    async def scenario(application, server, port):
        assert await exchanged(port) == (b"", True)
        got, closed = await exchanged(port, b"GET / HT")
        assert got.startswith(b"HTTP/1.1 408 ")
        assert closed
        got, closed = await exchanged(port, GET % b"good", pause=0.6)
        assert got.startswith(b"HTTP/1.1 200 ")
        assert closed

    run(scenario)


def test_who_does_not_read_is_read_from_no_further_and_dropped_in_the_end(monkeypatch):
    monkeypatch.setattr(connection, "DEAF_SECONDS", 1.0)

    async def scenario(application, server, port):
        deaf = socket.create_connection(("127.0.0.1", port))
        deaf.setblocking(False)
        uploads, held = post(b"x" * 50_000) * 10, []
        for _ in range(200):
            with suppress(BlockingIOError):
                deaf.send(uploads)
            await asyncio.sleep(0.001)
            held += [each._transport.get_write_buffer_size() for each in server.connections]
        assert 0 < max(held) < 2_000_000
        await until(lambda: not server.connections)
        deaf.close()

    run(scenario)


def test_who_leaves_the_end_of_an_answer_is_dropped_in_the_end(monkeypatch):
    """It is less than what makes a connection deaf, so idling ends it, and closing waits for what was not taken."""
    monkeypatch.setattr(connection, "DEAF_SECONDS", 1.0)
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)

    async def scenario(application, server, port):
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.connect(("127.0.0.1", port))
        await until(lambda: server.connections)
        [held] = server.connections
        deaf.setblocking(False)
        while not held._transport.get_write_buffer_size():
            with suppress(BlockingIOError):
                deaf.send(post(b"x" * 20_000))
            await asyncio.sleep(0.002)
        assert not held._deaf
        await until(lambda: held._transport.is_closing())
        await until(lambda: not server.connections)
        deaf.close()

    run(scenario)


def test_a_closed_connection_is_gone_without_the_garbage_collector(monkeypatch):
    """What it held, bodies above all, must not wait in memory for the collector: that was a slow growth for hours."""
    made, keep = weakref.WeakSet(), connection.Connection.connection_made

    def connection_made(self, transport):
        made.add(self)
        keep(self, transport)

    monkeypatch.setattr(connection.Connection, "connection_made", connection_made)

    async def scenario():
        async with serving() as (application, _, port):
            refused = b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n"
            for sent, end in (
                (GET % b"good", True),
                (post(b"cut off", 99), True),
                (b"nonsense\r\n\r\n", False),
                (refused, False),
            ):
                await exchanged(port, sent, end=end)
            leaving = socket.create_connection(("127.0.0.1", port))
            leaving.sendall(GET % b"wait")
            await asyncio.sleep(0.1)
            leaving.close()
            await until(lambda: not made)
            assert len(application.seen) == 3

    gc.disable()
    try:
        uvloop.run(scenario())
    finally:
        gc.enable()


def test_a_request_that_the_application_forgets_ends_the_connection():
    async def scenario(application, server, port):
        assert await exchanged(port, GET % b"forget") == (b"", True)

    run(scenario)


def test_more_connections_than_there_may_be():
    async def scenario(application, server, port):
        first = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert await exchanged(port, GET % b"late") == (b"", True)
        first[0][1].write(GET % b"early")
        assert (await answer(first[0][0]))[0] == 200
        for _, writer in first:
            writer.close()

    run(scenario, most=3)


def test_a_crowd_is_taken_in_turns():
    async def scenario(application, server, port):
        loop, turns = asyncio.get_running_loop(), []

        def turn():
            turns.append(len(application.seen))
            if len(turns) < 1000:
                loop.call_soon(turn)

        clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(400)]
        for _, writer in clients:
            writer.write(GET % b"x")
        turn()
        for reader, writer in clients:
            assert (await answer(reader))[0] == 200
            writer.close()
        assert len(application.seen) == 400
        assert max(b - a for a, b in itertools.pairwise(turns)) <= server_module.SLICE

    run(scenario)


def test_a_mistake_of_ours_costs_one_connection(monkeypatch, caplog):
    taken = connection.Connection.take

    def take(self, data):
        if b"broken" in data:
            raise RuntimeError("a mistake")
        taken(self, data)

    monkeypatch.setattr(connection.Connection, "take", take)

    async def scenario(application, server, port):
        for path, status in ((b"good", b"HTTP/1.1 200"), (b"broken", b""), (b"good", b"HTTP/1.1 200")):
            assert (await exchanged(port, GET % path))[0][:12] == status
        assert "a mistake" in caplog.text

    run(scenario)


def test_crowded_is_the_server_while_more_bodies_wait_than_it_takes_in_time(monkeypatch):
    monkeypatch.setattr(server_module, "CROWD", 10)

    async def scenario(application, server, port):
        crowded = []

        def slow(exchange):
            time.sleep(0.005)
            crowded.append(exchange.crowded)
            exchange.respond(200, [], b"")

        server.application = slow
        for many, expected in ((10, False), (100, True), (1, False)):
            crowded.clear()
            await asyncio.gather(*(exchanged(port, post(b"x")) for _ in range(many)))
            assert len(crowded) == many
            assert any(crowded) is expected
            assert not any(crowded[-10:]), "nobody waits behind them"

    run(scenario)


def test_what_slow_clients_send_is_no_crowd(monkeypatch):
    monkeypatch.setattr(server_module, "CROWD", 10)

    async def scenario(application, server, port):
        clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
        await until(lambda: len(server.connections) == len(clients))
        head, body = post(b"x" * 9)[:-9], b"x" * 9
        for piece in (head[:1], head[1:], body[:1], body[1:] + head, body):
            for each in server.connections:
                each.data_received(piece)
            assert not server.crowded, piece
            await until(lambda: not server._inbox)
        for _ in range(2):
            for each in server.connections:
                each.data_received(head + body)
            assert server.crowded
            await until(lambda: not server._inbox)
            assert not server.crowded
        for reader, writer in clients:
            for _ in range(4):
                assert (await answer(reader))[::2] == (200, body)
            writer.close()

    run(scenario)


def test_who_sends_many_small_pieces_is_read_from_no_faster_than_they_are_taken():
    async def scenario(application, server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(b"", 5))
        await until(lambda: server.connections)
        [held] = server.connections
        await until(lambda: held._reader.exchange)
        for at, piece in enumerate((b"h", b"e", b"l", b"l")):
            assert held._transport.is_reading() is (at < 3)
            held.data_received(piece)
        await until(lambda: not server._inbox)
        assert held._transport.is_reading()
        writer.write(b"o")
        assert (await answer(reader))[2] == b"hello"
        writer.close()

    run(scenario)


@pytest.mark.parametrize("paths", list(itertools.product((b"at-once", b"later"), repeat=2)))
def test_requests_that_come_together_leave_the_connection_open(paths):
    async def scenario(application, server, port):
        def at_once_or_later(exchange):
            if exchange.path == "/later":
                return application(exchange)
            return exchange.respond(200, [], b"at once")

        server.application = at_once_or_later
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for sent in (b"".join(GET % path for path in paths), GET % paths[0], GET % paths[1]):
            writer.write(sent)
            for _ in range(sent.count(b"GET")):
                assert (await asyncio.wait_for(answer(reader), 5))[0] == 200
        writer.close()

    run(scenario)


def test_requests_that_come_early_are_so_many_and_no_more():
    async def scenario(application, server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET % b"wait" + GET % b"x" * 5000)
        await until(lambda: server.connections)
        [held] = server.connections
        await until(lambda: held._exchanges)
        assert len(held._exchanges) == reader_module.PIPELINED + 1
        application.told.set()
        got = await reader.read()
        assert got.count(b"HTTP/1.1 200 ") == reader_module.PIPELINED + 1
        assert b"connection: close\r\n" in got[got.rindex(b"HTTP/1.1") :]

    run(scenario)
