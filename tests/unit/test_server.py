"""HTTP versions, connections and the shutdown that resets no client."""

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import pytest

from proxy import __main__ as main
from proxy.app import App, Response
from proxy.health import Health, State
from proxy.server import drain, granian
from proxy.settings import Settings
from serve.listening import listen
from tests.proxies import far_end, png, prediction, proxy
from tests.rsgi import eventually, fetch, serving

ROOT = Path(__file__).parents[2]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def echo(request):
    return Response(200, request.http_version.encode() + b" " + await request.protocol())


async def curl(*arguments):
    process = await asyncio.create_subprocess_exec("curl", "-sS", *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, output


@pytest.mark.parametrize(
    ("version", "seen"), [("--http1.0", b"1"), ("--http1.1", b"1.1"), ("--http2-prior-knowledge", b"2")]
)
def test_every_version_of_http_is_spoken_with_a_body(version, seen):
    async def scenario():
        async with serving(App({"/": ("POST", echo)}, ("*",), ())) as port:
            return await curl(version, "--data-binary", "hello", f"http://127.0.0.1:{port}/")

    assert asyncio.run(scenario()) == (0, seen + b" hello")


def test_an_upgrade_to_http_2_keeps_its_body():
    """Java's default client asks for h2c with its first upload."""

    async def scenario():
        async with serving(App({"/": ("POST", echo)}, ("*",), ())) as port:
            return await curl("--http2", "--data-binary", "hello", f"http://127.0.0.1:{port}/")

    status, output = asyncio.run(scenario())
    assert status == 0
    assert output.endswith(b" hello")


def test_expect_100_continue_gets_100_first():
    async def scenario():
        async with serving(App({"/": ("POST", echo)}, ("*",), ())) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            writer.write(b"hello")
            answer = await asyncio.wait_for(reader.readuntil(b"hello"), 10)
            writer.close()
            return head, answer

    head, answer = asyncio.run(scenario())
    assert head.startswith(b"HTTP/1.1 100 ")
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(("most", "listeners"), [(2, 1), (4, 2)])
def test_connections_are_bounded_and_more_of_them_wait(most, listeners):
    async def scenario():
        settings = Settings(max_connections=most)
        async with serving(App({"/": ("POST", echo)}, ("*",), ()), settings, listeners) as port:
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            for _, writer in idle:
                writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            for reader, _ in idle:
                await asyncio.wait_for(reader.readuntil(b"1.1 "), 10)
            waiting = asyncio.create_task(fetch(port, "/", b"x"))
            await asyncio.sleep(0.2)
            assert not waiting.done()
            for _, writer in idle:
                writer.close()
            assert (await asyncio.wait_for(waiting, 10)).status == 200

    asyncio.run(scenario())


@asynccontextmanager
async def draining(**settings):
    """A server whose one endpoint waits for `opened`; (port, app, health, opened, start of the drain)."""
    chosen, opened = Settings(**settings), asyncio.Event()

    async def slow(request):
        await opened.wait()
        return Response(200, b"done")

    async def fast(request):
        return Response(200, b"")

    app = App({"/slow": ("GET", slow), "/fast": ("GET", fast)}, ("*",), ())
    [listener] = listen("127.0.0.1", free_port())
    health, server = Health(chosen, None), granian(app, chosen, listener)
    task = asyncio.create_task(server.serve())
    try:
        yield (
            listener.getsockname()[1], app, health, opened,
            lambda: asyncio.create_task(drain(chosen, app, health, [listener])),
        )  # fmt: skip
    finally:
        server.stop()
        await asyncio.wait([task], timeout=5)
        listener.close()


def test_the_http_server_closes_no_descriptor_but_its_own():
    """A second close of the listener's number would hit whatever file has it by then."""

    async def scenario():
        with listen("127.0.0.1", 0)[0] as listener:
            server = granian(App({"/": ("POST", echo)}, ("*",), ()), Settings(), listener)
            task = asyncio.create_task(server.serve())
            assert (await fetch(listener.getsockname()[1], "/", b"x")).status == 200
            server.stop()
            await asyncio.wait_for(task, 5)
            await asyncio.sleep(0.2)  # Granian's threads end a moment later
            return listener.getsockname()  # raises OSError where it is closed

    assert asyncio.run(scenario())[0] == "127.0.0.1"


def test_a_drain_waits_for_the_requests_in_flight():
    async def scenario():
        async with draining() as (port, app, health, opened, start):
            slow = asyncio.create_task(fetch(port, "/slow", method="GET"))
            await eventually(lambda: app.in_flight)
            drained = start()
            await eventually(lambda: health.state is State.CLOSING)
            await asyncio.sleep(1)
            assert not drained.done()
            opened.set()
            answer = await slow
            assert (answer.status, answer.body, answer.headers["connection"]) == (200, b"done", "close")
            await asyncio.wait_for(drained, 10)

    asyncio.run(scenario())


def test_what_outlasts_the_grace_of_a_drain_gets_503(caplog):
    async def scenario():
        async with draining(grace_seconds=0.1) as (port, app, _, _, start):
            slow = asyncio.create_task(fetch(port, "/slow", method="GET"))
            await eventually(lambda: app.in_flight)
            await asyncio.wait_for(start(), 10)
            return await slow

    answer = asyncio.run(scenario())
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (503, "not_ready")
    assert (answer.headers["retry-after"], answer.headers["connection"]) == ("2", "close")
    assert "1 requests were still in flight" in caplog.text


def test_a_client_that_takes_nothing_of_its_response_is_cut_off():
    whole = bytes(16 * 1024 * 1024)

    async def large(request):
        return Response(200, whole)

    async def scenario():
        settings = Settings(keep_alive_seconds=1)
        async with serving(App({"/": ("GET", large)}, ("*",), ()), settings) as port:
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                await asyncio.sleep(5)
                client.settimeout(10)
                return await asyncio.to_thread(receive_all, client)

    assert asyncio.run(scenario()) < len(whole)


def receive_all(client):
    """How many bytes there are before the connection is reset."""
    size = 0
    with suppress(ConnectionResetError):
        while piece := client.recv(65536):
            size += len(piece)
    return size


def test_the_headers_of_an_http_2_request_are_bounded():
    async def scenario():
        async with serving(App({"/": ("POST", echo)}, ("*",), ())) as port:
            four, five = ([word for i in range(n) for word in ("-H", f"x-{i}: {'a' * 7000}")] for n in (4, 5))
            command = ("--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_code}", "-d", "x")
            return [(await curl(*command, *more, f"http://127.0.0.1:{port}/"))[1] for more in (four, five)]

    taken, refused = asyncio.run(scenario())
    assert taken == b"200"
    assert refused in (b"431", b"000")  # the answer, or the reset that follows it at once


def test_while_draining_uploads_go_on_until_load_balancers_have_left():
    async def scenario():
        async with draining(drain_seconds=0.5) as (port, _, health, _, start):
            drained = start()
            await eventually(lambda: health.state is State.DRAINING)
            answer = await fetch(port, "/fast", method="GET")
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            await eventually(lambda: health.state is State.CLOSING)
            await asyncio.wait_for(drained, 10)

    asyncio.run(scenario())


def test_after_a_drain_only_idle_connections_are_answered():
    async def scenario():
        async with draining() as (port, _, _, _, start):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /fast HTTP/1.1\r\nHost: a\r\n\r\n")
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            await asyncio.wait_for(start(), 10)
            writer.write(b"GET /fast HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            assert b"connection: close" in head.lower()
            writer.close()
            with closing(socket.socket()) as late:
                late.settimeout(10)
                with pytest.raises(ConnectionRefusedError):
                    late.connect(("127.0.0.1", port))

    asyncio.run(scenario())


def test_an_upload_while_closing_is_refused_with_its_cause(tmp_path):
    async def scenario():
        async with far_end() as (_, upstream), proxy(tmp_path, upstream) as one:
            one.health.shutdown = State.CLOSING
            answer = await one.upload(png(1))
            assert (answer.status, int(answer.headers["retry-after"]) > 0) == (503, True)
            assert await one.metric("mnist_refusals_total", cause="draining") == 1
            assert (await one.logged(answer.headers["x-request-id"]))["cause"] == "draining"

    asyncio.run(scenario())


@asynccontextmanager
async def process(folder, upstream, **environment):
    """`python -m proxy` in front of a far end, once it is ready; (port, process)."""
    port = free_port()
    given = {
        "PORT": str(port),
        "TS_INFERENCE_PORT": str(upstream),
        "TS_KEY_FILE": str(folder / "key_file.json"),
        "LOG_FORMAT": "off",
    }
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy", cwd=ROOT, env=os.environ | given | environment, stderr=asyncio.subprocess.PIPE
    )

    async def ready():
        while True:
            with suppress(OSError):
                if (await fetch(port, "/readyz", method="GET")).status == 200:
                    return
            await asyncio.sleep(0.05)

    try:
        await asyncio.wait_for(ready(), 60)
        yield port, started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def closed_loop(port, image, answers):
    """A client that keeps its connection and reuses it until it is told to close; then it connects again."""
    request = (
        b"POST /api/mnist HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(image)
    ) + image
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return
        while True:
            writer.write(request)
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                answers.append((int(head.split()[1]), await reader.readexactly(length)))
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                answers.append((0, repr(error).encode()))
                return
            if b"connection: close" in head.lower():
                break
        writer.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_answers_every_request(tmp_path, number):
    """Sixteen clients in a closed loop see answers and 503, never a reset, and the process exits with 0."""

    async def scenario():
        answers, image = [], png(7)
        async with far_end() as (_, upstream), process(tmp_path, upstream) as (port, started):
            clients = [asyncio.create_task(closed_loop(port, image, answers)) for _ in range(16)]
            await eventually(lambda: len(answers) > 200, 30)
            started.send_signal(number)
            _, errors = await asyncio.wait_for(started.communicate(), 60)
            await asyncio.wait(clients, timeout=10)
            for client in clients:
                client.cancel()
        return answers, started.returncode, errors.decode()

    answers, status, errors = asyncio.run(scenario())
    assert status == 0, errors
    assert {code for code, _ in answers} <= {200, 503}, [body for code, body in answers if code == 0]
    assert all(str(prediction(png(7))["seen"]).encode() in body for code, body in answers if code == 200)


def test_the_process_answers_on_every_address_of_localhost(tmp_path):
    addresses = ["127.0.0.1"] + ["[::1]"] * socket.has_dualstack_ipv6()

    async def scenario():
        async with far_end() as (_, upstream), process(tmp_path, upstream) as (port, _):
            for address in addresses:
                assert await curl(f"http://{address}:{port}/livez") == (0, b'{"live": true}')

    asyncio.run(scenario())


def test_a_taken_port_ends_the_start_with_one_line():
    async def scenario(port):
        started = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "proxy", cwd=ROOT,
            env=os.environ | {"PORT": str(port), "HOST": "127.0.0.1"}, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, errors = await asyncio.wait_for(started.communicate(), 60)
        return started.returncode, errors.decode()

    with closing(listen("127.0.0.1", free_port())[0]) as taken:
        port = taken.getsockname()[1]
        status, errors = asyncio.run(scenario(port))
    assert (status, errors) == (2, f"error: PORT: cannot listen on 127.0.0.1:{port}: Address already in use\n")


def test_a_task_that_should_never_end_ends_the_proxy(monkeypatch, tmp_path):
    """The supervisor then starts it again, where it would have gone on without probes or a reaper."""

    async def broken(settings):
        raise RuntimeError("no reaper any more")

    monkeypatch.setattr(main, "reap_forever", broken)
    monkeypatch.setattr(main, "collect_rarely", lambda: None)
    settings = Settings(port=free_port(), grace_seconds=0, ts_key_file=tmp_path / "keys", log_format="off")
    with pytest.raises(RuntimeError, match="no reaper"):
        asyncio.run(main.serve(settings))
