"""The client of TorchServe against a server that does what TorchServe does at its worst."""

import asyncio
import gc
import json
import os
import socket
import struct
import subprocess
import weakref
from contextlib import asynccontextmanager, closing, suppress
from math import inf

import pytest
from aiohttp import web

import wire as handler_side
from proxy.batcher import Item
from proxy.errors import Cause, ModelServerError, NotReady
from proxy.settings import Settings
from proxy.torchserve import STANDBY, TorchServe


def item(image):
    return Item(image, 0, inf)


@asynccontextmanager
async def far_end(answer, key_file):
    """TorchServe's place, answered by `answer(request)`, and a client of it."""
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/predictions/{model}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        with closing(TorchServe(Settings(ts_inference_port=port, ts_key_file=key_file))) as client:
            yield client
    finally:
        await runner.cleanup()


def run(answer, tmp_path, images=(b"a", b"b"), during=None):
    async def scenario():
        async with far_end(answer, tmp_path / "keys.json") as client:
            if during:
                during()
            return await client.predict("mnist_small", [item(image) for image in images])

    return asyncio.run(scenario())


async def echo(request):
    images, _ = handler_side.decode(await request.read())
    return web.Response(body=handler_side.encode([(200, image) for image in images]))


def write_token(tmp_path, token):
    (tmp_path / "keys.json").write_text(json.dumps({"inference": {"key": token}}))


def test_a_batch_goes_there_and_back(tmp_path):
    assert run(echo, tmp_path) == [b"a", b"b"]


def test_the_token_is_sent_and_read_again_after_a_refusal(tmp_path):
    seen = []

    async def rotated(request):
        seen.append(request.headers.get("Authorization"))
        return await echo(request) if seen[-1] == "Bearer new" else web.Response(status=400, text="InvalidKeyException")

    write_token(tmp_path, "old")
    assert len(run(rotated, tmp_path, during=lambda: write_token(tmp_path, "new"))) == 2
    assert seen == ["Bearer old", "Bearer new"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"inference": {}}'])
def test_a_key_file_being_written_is_no_disaster(tmp_path, content):
    (tmp_path / "keys.json").write_text(content)
    assert len(run(echo, tmp_path)) == 2


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=503, text="Prediction failed"),
        web.Response(status=500, text="Worker died."),
        web.Response(status=400, text="always refused"),
        web.Response(text="nonsense"),
        web.Response(body=handler_side.encode([(200, b"one reply too few")])),
    ],
)
def test_whatever_else_it_says_is_a_failure_of_the_batch(tmp_path, answer):
    async def say(request):
        return web.Response(status=answer.status, body=answer.body)

    with pytest.raises(ModelServerError):
        run(say, tmp_path)


def test_a_connection_that_breaks_is_a_failure_of_the_batch(tmp_path):
    async def die(request):
        request.transport.abort()
        return web.Response()

    with pytest.raises(ModelServerError):
        run(die, tmp_path)


def test_a_broken_connection_leaves_no_image_to_the_garbage_collector(tmp_path):
    """An image that waits in a reference cycle is not counted as being in memory."""

    async def reset(reader, writer):
        await next_request(reader)
        linger = struct.pack("ii", 1, 0)  # closing then sends a reset
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async def scenario():
        async with raw_far_end(tmp_path, reset) as client:
            sent = item(b"a")
            alive = weakref.ref(sent)
            try:
                await client.predict("mnist_small", [sent])
            except ModelServerError as error:
                error.with_traceback(None)  # as the batcher does
            del sent
            return alive()

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(scenario()) is None
    finally:
        gc.enable()


def test_nobody_listening_is_not_ready(tmp_path):
    async def scenario():
        with closing(TorchServe(Settings(ts_inference_port=9, ts_key_file=tmp_path / "k"))) as client:
            await client.predict("mnist_small", [item(b"a")])

    with pytest.raises(NotReady) as raised:
        asyncio.run(scenario())
    assert raised.value.cause is Cause.TORCHSERVE_UNREACHABLE


def test_a_batch_is_marked_and_goes_to_its_model(tmp_path):
    seen = []

    async def noting(request):
        seen.append((request.match_info["model"], request.headers["X-Mnist-Batch"]))
        return await echo(request)

    run(noting, tmp_path)
    assert seen == [("mnist_small", "1")]


def test_batches_go_to_the_standby_while_its_process_lives(tmp_path):
    """A rollout writes standby.json; what it left behind when it was killed counts for nothing."""
    seen = []

    async def noting(request):
        seen.append(request.headers.get("Authorization"))
        return await echo(request)

    async def scenario():
        ended = subprocess.Popen(["true"])
        ended.wait()
        write_token(tmp_path, "own")
        (tmp_path / "standby").mkdir()
        write_token(tmp_path / "standby", "standby")
        keys = str(tmp_path / "standby/keys.json")
        async with far_end(noting, tmp_path / "keys.json") as client, far_end(noting, tmp_path / "none") as other:
            own, standby = client.port, other.port
            for pid in (os.getpid(), ended.pid):
                facts = {"port": standby, "key_file": keys, "pid": pid}
                (tmp_path / STANDBY).write_text(json.dumps(facts))
                client.follow_standby()
                seen.append(client.port)
                await client.predict("mnist_small", [item(b"a")])
            return own, standby

    own, standby = asyncio.run(scenario())
    assert seen == [standby, "Bearer standby", own, "Bearer own"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"port": "x", "key_file": "k", "pid": 1}'])
def test_a_standby_file_that_cannot_be_read_changes_nothing(tmp_path, content):
    (tmp_path / STANDBY).write_text(content)
    assert run(echo, tmp_path) == [b"a", b"b"]


@asynccontextmanager
async def raw_far_end(tmp_path, serve):
    """TorchServe's place, where `serve(reader, writer)` has each connection; and a client of it."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    settings = Settings(ts_inference_port=server.sockets[0].getsockname()[1], ts_key_file=tmp_path / "keys.json")
    async with server:
        with closing(TorchServe(settings)) as client:
            yield client


def response(*images, head=b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):
    body = handler_side.encode([(200, image) for image in images])
    return head % len(body) + body


async def next_request(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head, await reader.readexactly(length)


def test_a_response_may_come_in_pieces_and_the_connection_is_used_again(tmp_path):
    async def in_pieces(reader, writer):
        connections.append(writer)
        while True:
            await next_request(reader)
            for byte in response(b"seen", b"seen too"):
                writer.write(bytes([byte]))
                await asyncio.sleep(0)

    async def scenario():
        async with raw_far_end(tmp_path, in_pieces) as client:
            return [await client.predict("mnist_small", [item(b"a"), item(b"b")]) for _ in range(3)]

    connections = []
    assert asyncio.run(scenario()) == [[b"seen", b"seen too"]] * 3
    assert len(connections) == 1


@pytest.mark.parametrize(
    "said",
    [
        b"what is this\r\n\r\n",
        response(b"a", head=b"HTTP/1.1 200 OK\r\n\r\n%.0d"),
        response(b"a", head=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nLength: %d\r\n\r\n"),
        response(b"a")[:-1],
    ],
)
def test_what_is_no_response_is_a_failure_of_the_batch(tmp_path, said):
    async def say(reader, writer):
        await next_request(reader)
        writer.write(said)
        writer.close()

    async def scenario():
        async with raw_far_end(tmp_path, say) as client:
            await client.predict("mnist_small", [item(b"a")])

    with pytest.raises(ModelServerError):
        asyncio.run(scenario())


def test_a_late_response_is_never_taken_for_that_of_another_batch(tmp_path):
    async def late(reader, writer):
        _, body = await next_request(reader)
        if body.endswith(b"slow"):
            await asyncio.sleep(0.2)
        with suppress(ConnectionError):
            writer.write(response(body[-4:]))
            await writer.drain()

    async def scenario():
        async with raw_far_end(tmp_path, late) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await client.predict("mnist_small", [item(b"slow")])
            await asyncio.sleep(0.2)
            return await client.predict("mnist_small", [item(b"fast")])

    assert asyncio.run(scenario()) == [b"fast"]


@pytest.mark.parametrize("more", [response(b"for nobody"), b"nonsense"])
def test_a_connection_with_unread_bytes_is_not_used_again(tmp_path, more):
    """They would be taken for the response to the next batch: another client's prediction."""

    async def answer_too_much(reader, writer):
        connections.append(writer)
        while True:
            _, body = await next_request(reader)
            writer.write(response(body[-1:]) + more)

    async def scenario():
        async with raw_far_end(tmp_path, answer_too_much) as client:
            return [await client.predict("mnist_small", [item(image)]) for image in (b"a", b"b", b"c")]

    connections = []
    assert asyncio.run(scenario()) == [[b"a"], [b"b"], [b"c"]]
    assert len(connections) == 3
