"""The whole proxy in the test's own event loop, and in TorchServe's place a server that the test commands.

Everything between the two sockets is real: HTTP server, application, batchers, client, wire format.
"""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from aiohttp import web
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

import wire
from proxy.__main__ import application, make_batchers
from proxy.admission import SizeClass
from proxy.app import App
from proxy.batcher import Batcher
from proxy.health import Health, State
from proxy.log import AccessLog
from proxy.settings import Settings
from proxy.torchserve import TorchServe
from tests.rsgi import Answer, eventually, fetch, file, multipart, serving


def png(shade: int, side: int = 28, padding: int = 0) -> bytes:
    """An image of one shade; readers ignore the padding."""
    found = io.BytesIO()
    Image.new("L", (side, side), shade).save(found, "PNG")
    return found.getvalue() + bytes(padding)


def prediction(image: bytes) -> dict:
    """What the far end answers to an image."""
    return {"seen": crc32(image)}


class FarEnd:
    """TorchServe's place.

    Attributes:
        batches: (model, images) of each batch that came, probes left out.
        flags: of each image of them.
        opened: batches are answered while it is set.
        failures: image -> how many of the batches with it fail yet.
        lost: image -> how many of the batches with it are never answered.
        replies: image -> (status, body) in place of a prediction.
    """

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[bytes]]] = []
        self.flags: dict[bytes, int] = {}
        self.failures: dict[bytes, int] = {}
        self.lost: dict[bytes, int] = {}
        self.replies: dict[bytes, tuple[int, bytes]] = {}
        self.opened = asyncio.Event()
        self.opened.set()

    def with_image(self, image: bytes) -> list[int]:
        """The sizes of the batches that it came in."""
        return [len(images) for _, images in self.batches if image in images]

    async def answer(self, request: web.Request) -> web.Response:
        images, flags = wire.decode(await request.read())
        if not flags[0] & wire.PROBE:
            self.batches.append((request.match_info["model"], images))
            self.flags |= dict(zip(images, flags, strict=True))
            for image in images:
                if self.lost.get(image):
                    self.lost[image] -= 1
                    await asyncio.sleep(3600)
            await self.opened.wait()
            for image in images:
                if self.failures.get(image):
                    self.failures[image] -= 1
                    return web.Response(status=503, text="Prediction failed")
        predicted = ((200, json.dumps(prediction(image)).encode()) for image in images)
        return web.Response(
            body=wire.encode([self.replies.get(image, one) for image, one in zip(images, predicted, strict=True)])
        )


@asynccontextmanager
async def far_end() -> AsyncIterator[tuple[FarEnd, int]]:
    """A far end and its port."""
    far = FarEnd()
    app = web.Application(client_max_size=1 << 28)
    app.router.add_post("/predictions/{model}", far.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield far, runner.addresses[0][1]
    finally:
        await runner.cleanup()


class Proxy(NamedTuple):
    """A running proxy."""

    port: int
    app: App
    health: Health
    batchers: dict[SizeClass, Batcher]
    log: Path

    async def upload(self, *images: bytes, path: str | None = None, headers: dict[str, str] | None = None) -> Answer:
        """Upload them as a client does: one to /api/mnist, several to /api/mnist/batch."""
        kind, body = multipart(*(file("image", image) for image in images), boundary="no-image-contains-this-line")
        path = path or ("/api/mnist" if len(images) == 1 else "/api/mnist/batch")
        return await fetch(self.port, path, body, kind | (headers or {}))

    async def metric(self, name: str, **labels: str) -> float:
        """The value of one series at this moment."""
        text = (await fetch(self.port, "/metrics", method="GET")).body.decode()
        [found] = (
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        )
        return found

    async def logged(self, request_id: str) -> dict:
        """The line of the access log about a request."""

        def lines() -> list[dict]:
            told = map(json.loads, self.log.read_text().splitlines())
            return [line for line in told if line["id"] == request_id]

        await eventually(lines)
        return lines()[0]


@asynccontextmanager
async def proxy(folder: Path, port: int, ready: bool = True, **settings: object) -> AsyncIterator[Proxy]:
    """A proxy in front of the far end at `port`, as `python -m proxy` puts it together."""
    chosen = Settings(ts_inference_port=port, ts_key_file=folder / "key_file.json", **settings)  # type: ignore[arg-type]
    async with AsyncExitStack() as stack:
        torchserve = stack.enter_context(closing(TorchServe(chosen)))
        health, batchers = Health(chosen, torchserve), make_batchers(chosen, torchserve)
        output = stack.enter_context((folder / "access.log").open("ab"))
        access_log = AccessLog("json", output.fileno())
        stack.callback(access_log.close)
        app = application(chosen, health, batchers, torchserve, access_log)
        tasks = [
            asyncio.create_task(each)
            for each in (health.probe_forever(), _sweep(access_log.flush, *(b.sweep for b in batchers.values())))
        ]
        served = await stack.enter_async_context(serving(app, chosen))
        stack.callback(lambda: [task.cancel() for task in tasks])
        if ready:
            await eventually(lambda: health.state is State.READY)
        yield Proxy(served, app, health, batchers, folder / "access.log")


async def _sweep(*sweeps: object) -> None:
    while True:
        await asyncio.sleep(0.02)
        for sweep in sweeps:
            sweep()  # type: ignore[operator]
