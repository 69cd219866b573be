"""The client of TorchServe against a server that does what TorchServe does at its worst."""

import asyncio
import json
from contextlib import aclosing, asynccontextmanager

import pytest
import trip as handler_side
from aiohttp import web
from proxy.lane import Upload

from proxy.errors import ModelServerError, NotReady
from proxy.settings import Settings
from proxy.torchserve import TorchServe


def upload(*images, trace=""):
    return Upload(images, 0, 1e12, trace)


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
        async with aclosing(TorchServe(Settings(ts_inference_port=port, ts_key_file=key_file))) as client:
            yield client
    finally:
        await runner.cleanup()


def run(answer, tmp_path, images=(b"a", b"b"), during=None):
    async def scenario():
        async with far_end(answer, tmp_path / "keys.json") as client:
            if during:
                during()
            return await client.carry("mnist", False, [upload(*images)])

    return asyncio.run(scenario())


async def echo(request):
    images, _ = handler_side.decode(await request.read())
    return web.Response(body=handler_side.encode([(200, image) for image in images]))


def write_token(tmp_path, token):
    (tmp_path / "keys.json").write_text(json.dumps({"inference": {"key": token}}))


def test_a_trip_goes_there_and_back(tmp_path):
    assert [r.body for r in run(echo, tmp_path)] == [b"a", b"b"]


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
def test_whatever_else_it_says_is_a_failure_of_the_trip(tmp_path, answer):
    async def say(request):
        return web.Response(status=answer.status, body=answer.body)

    with pytest.raises(ModelServerError):
        run(say, tmp_path)


def test_a_connection_that_breaks_is_a_failure_of_the_trip(tmp_path):
    async def die(request):
        request.transport.abort()
        return web.Response()

    with pytest.raises(ModelServerError):
        run(die, tmp_path)


def test_nobody_listening_is_not_ready(tmp_path):
    async def scenario():
        async with aclosing(TorchServe(Settings(ts_inference_port=9, ts_key_file=tmp_path / "k"))) as client:
            await client.carry("mnist", False, [upload(b"a")])

    with pytest.raises(NotReady):
        asyncio.run(scenario())


def test_a_trace_goes_on_with_a_lone_trip_and_not_with_a_shared_one(tmp_path):
    seen = []

    async def noting(request):
        seen.append(request.headers.get("traceparent"))
        return await echo(request)

    async def scenario():
        async with far_end(noting, tmp_path / "keys.json") as client:
            await client.carry("mnist", False, [upload(b"a", trace="00-trace")])
            await client.carry("mnist", False, [upload(b"a")])
            await client.carry("mnist", False, [upload(b"a", trace="00-trace"), upload(b"b", trace="00-other")])

    asyncio.run(scenario())
    assert seen == ["00-trace", None, None]
