"""Under load every answer belongs to its upload; TorchServe batches direct clients; nothing hinges on batches."""

import asyncio
import re
from contextlib import suppress
from http.client import HTTPConnection
from time import sleep

import aiohttp
import cv2
import numpy as np
import requests

from tests.integration.test_serving import SAMPLES, tokens
from tests.stack import Stack, proxy_beside, wait_until

PICTURES = 2000
CONNECTIONS = 128
CLOSE = 1e-3  # of a probability's logarithm: sums of another batch size are ordered otherwise


def different_pictures() -> list[bytes]:
    """Pictures of which no two are alike, so that an answer that went astray is seen: the samples, speckled."""
    random = np.random.default_rng(7)
    digits = [cv2.imdecode(np.frombuffer(sample, np.uint8), cv2.IMREAD_GRAYSCALE) for sample in SAMPLES]
    pictures = []
    for number in range(PICTURES):
        picture = digits[number % 10].copy()
        inked = np.argwhere(picture > 0)
        chosen = inked[random.choice(len(inked), 12, replace=False)]
        picture[tuple(chosen.T)] = random.integers(1, 255, 12)
        pictures.append(cv2.imencode(".png", picture)[1].tobytes())
    assert len(set(pictures)) == PICTURES
    return pictures


async def ask_all(port: int, pictures: list[bytes], connections: int) -> np.ndarray:
    """Logarithms of the probabilities, float64 [n, 10], as answered with so many uploads in flight at one time."""
    waiting = iter(enumerate(pictures))
    answers = np.zeros((len(pictures), 10))

    async def client(session: aiohttp.ClientSession) -> None:
        for number, picture in waiting:
            form = aiohttp.FormData()
            form.add_field("image", picture, filename="digit.png")
            async with session.post(f"http://127.0.0.1:{port}/api/mnist", data=form) as answer:
                assert answer.status == 200, await answer.text()
                every = (await answer.json())["predictions"]["all"]
            answers[number] = [each["probability"] for each in every]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(session) for _ in range(connections)))
    return np.log(np.maximum(answers, 1e-30))


def test_every_answer_belongs_to_its_upload(service):
    pictures = different_pictures()
    alone = asyncio.run(ask_all(service.port, pictures, connections=1))
    assert len(np.unique(alone.round(2), axis=0)) > 0.99 * PICTURES  # else a mix-up could pass unseen
    together = asyncio.run(ask_all(service.port, pictures, CONNECTIONS))
    astray = np.abs(together - alone).max(axis=1) > CLOSE
    assert not astray.any(), f"{astray.sum()} of {PICTURES}"


def direct_counts(service: Stack) -> tuple[float, float]:
    """Batches and rows of direct clients, as TorchServe's metrics have them."""
    metrics = f"http://127.0.0.1:{service.ports['TS_METRICS_PORT']}/metrics"
    keys = (service.run / str(service.port) / "key_file.json").read_text()
    token = re.search(r'"management":\s*\{\s*"key":\s*"([^"]+)"', keys)
    text = requests.get(metrics, headers={"Authorization": f"Bearer {token[1]}"}, timeout=5).text
    sums = []
    for name in ("mnist_direct_batches_total", "mnist_direct_rows_total"):
        sums.append(sum(float(each) for each in re.findall(rf"^{name}\{{[^}}]*\}} ([\d.eE+]+)$", text, re.MULTILINE)))
    return sums[0], sums[1]


def test_torchserve_batches_direct_clients(service):
    headers = tokens(service)["inference"] | {"Content-Type": "image/png"}
    clients = [HTTPConnection("127.0.0.1", service.ports["TS_INFERENCE_PORT"]) for _ in range(32)]

    def settled() -> tuple[float, float] | None:
        """The counts, once they hold what other tests have sent: a batch is counted when the next one comes."""
        counts = []
        for _ in range(2):
            clients[0].request("POST", "/predictions/mnist", SAMPLES[7], headers)
            clients[0].getresponse().read()
            sleep(1.2)  # TorchServe hears of them once a second
            with suppress(requests.ConnectionError):
                counts.append(direct_counts(service))
        return counts[1] if len(counts) == 2 and counts[1][1] - counts[0][1] <= 2 else None

    batches, rows = wait_until(settled, 30, "the counts of earlier batches")
    for _ in range(20):
        for client in clients:  # all at one moment: a slower client's pictures would find idle workers
            client.request("POST", "/predictions/mnist", SAMPLES[7], headers)
        for client in clients:
            answer = client.getresponse()
            assert (answer.status, bool(answer.read())) == (200, True)

    def told() -> tuple[float, float] | None:
        clients[0].request("POST", "/predictions/mnist", SAMPLES[7], headers)  # what is counted is told with the next
        clients[0].getresponse().read()
        with suppress(requests.ConnectionError):
            now = direct_counts(service)
            return (now[0] - batches, now[1] - rows) if now[1] - rows >= 640 else None
        return None

    more_batches, more_rows = wait_until(told, 20, "the counts of the batches")
    assert 640 <= more_rows < 1000
    assert more_rows / more_batches > 2


def test_without_batches_the_answers_are_the_same(service, tmp_path):
    pictures = different_pictures()[:200]
    together = asyncio.run(ask_all(service.port, pictures, connections=16))
    with proxy_beside(service, tmp_path, BATCH_SIZE="1") as proxy:
        apart = asyncio.run(ask_all(proxy.port, pictures, connections=16))
        assert re.search(r"^mnist_batch_images_bucket.*le=\"1.0\".* 200.0$", proxy.get("/metrics"), re.MULTILINE)
    assert np.abs(together - apart).max() < CLOSE
