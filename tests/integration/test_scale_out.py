"""Two complete stacks behind HAProxy: what happens to uploads when one of them dies, stops, or comes back."""

import asyncio
import collections
import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import aiohttp
import pytest
import requests

from tests.stack import ROOT, Stack, free_ports, running, wait_until

SAMPLES = [(ROOT / f"samples/{digit}.png").read_bytes() for digit in range(10)]
PNG = {"Content-Type": "image/png"}
CLIENTS = 24

pytestmark = pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is missing (Debian: apt install haproxy)")


def status(url: str) -> int | None:
    try:
        return requests.get(url, timeout=3).status_code
    except requests.RequestException:
        return None


def answered(stack: Stack) -> float:
    """Uploads that this stack has answered with 200."""
    lines = requests.get(f"http://127.0.0.1:{stack.port}/metrics", timeout=5).text.splitlines()
    wanted = [line for line in lines if line.startswith("mnist_requests_total{") and 'endpoint="/api/mnist"' in line]
    return sum(float(line.split()[-1]) for line in wanted if 'status="200"' in line)


def stuffed(png: bytes, size: int) -> bytes:
    """The same picture with a private chunk of `size` bytes in front of the end, which decoders skip."""
    chunk = b"teSt" + bytes(size)
    end = png.rindex(b"IEND") - 4
    return png[:end] + struct.pack("!I", size) + chunk + struct.pack("!I", zlib.crc32(chunk)) + png[end:]


@pytest.fixture(scope="module")
def stacks(model_store, tmp_path_factory) -> Iterator[list[Stack]]:
    with contextlib.ExitStack() as both:
        yield [
            both.enter_context(running(tmp_path_factory.mktemp(name), MODEL_STORE=str(model_store), DRAIN_SECONDS="2"))
            for name in ("one", "two")
        ]


@pytest.fixture(scope="module")
def balancer(stacks) -> Iterator[str]:
    """HAProxy before both: a process for all uploads, and the one behind it for large ones."""
    address, large = (f"127.0.0.1:{port}" for port in free_ports(2))
    places = {"LARGE": large} | {f"STACK_{n}": f"127.0.0.1:{stack.port}" for n, stack in enumerate(stacks, 1)}
    command = ["haproxy", "-db", "-f", ROOT / "deploy/haproxy.cfg"]
    with contextlib.ExitStack() as started:
        for own in ({"BUFFER": str(9 * 1024 * 1024), "LISTEN": large}, {"LISTEN": address}):
            process = subprocess.Popen(command, env=os.environ | places | own)
            started.callback(process.wait, 10)
            started.callback(process.terminate)
            wait_until(lambda own=own: status(f"http://{own['LISTEN']}/readyz") == 200, 15, "HAProxy forwards")
        yield f"http://{address}"


@pytest.fixture(autouse=True)
def both_ready(stacks, balancer) -> None:
    for stack in stacks:
        if not stack.processes or stack.supervisor.poll() is not None:
            stack.start()
        stack.wait_ready()
    time.sleep(1)  # HAProxy's checks, twice a second, see it as well


async def load(
    url: str, seconds: float, event: Callable[[], object] = lambda: None, large: int = 0
) -> collections.Counter[str]:
    """CLIENTS send samples one after the other; `event` is called in a thread when a third of the time is over.

    Args:
        large: bytes that the first client's picture is stuffed with.

    Returns:
        How often an answer was right, and each other thing that happened, in words.
    """
    outcomes: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + seconds

    async def client(number: int, session: aiohttp.ClientSession) -> None:
        digit = number % 10
        body = stuffed(SAMPLES[digit], large) if large and number == 0 else SAMPLES[digit]
        while time.monotonic() < end:
            try:
                async with session.post(f"{url}/api/mnist", data=body, headers=PNG) as response:
                    answer = await response.json(content_type=None)
                    right = response.status == 200 and answer["predictions"]["prediction"]["label"] == digit
                    outcomes["right" if right else f"{response.status} {answer}"] += 1
            except (aiohttp.ClientError, OSError, ValueError) as error:
                outcomes[repr(error)] += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        clients = [asyncio.create_task(client(number, session)) for number in range(CLIENTS)]
        await asyncio.sleep(seconds / 3)
        await asyncio.to_thread(event)
        await asyncio.gather(*clients)
    return outcomes


def test_both_stacks_share_the_load(stacks, balancer):
    before = [answered(stack) for stack in stacks]
    outcomes = asyncio.run(load(balancer, 3))
    assert list(outcomes) == ["right"]
    shares = [answered(stack) - was for stack, was in zip(stacks, before, strict=True)]
    assert sum(shares) == outcomes["right"]
    assert min(shares) > 0.2 * sum(shares)


def test_a_killed_stack_loses_no_upload_and_comes_back(stacks, balancer):
    outcomes = asyncio.run(load(balancer, 4, lambda: stacks[0].kill()))
    assert list(outcomes) == ["right"]
    assert outcomes["right"] > CLIENTS
    stacks[0].start()
    time.sleep(1)
    assert list(asyncio.run(load(balancer, 3))) == ["right"]
    assert answered(stacks[0]) > 0


def test_a_killed_stack_loses_no_large_upload(stacks, balancer):
    outcomes = asyncio.run(load(balancer, 4, lambda: stacks[1].kill(), large=8 * 1024 * 1024 - 4096))
    assert list(outcomes) == ["right"]


def test_a_stack_drains_on_sigterm(stacks, balancer):
    outcomes = asyncio.run(load(balancer, 9, lambda: stacks[0].supervisor.send_signal(signal.SIGTERM)))
    assert list(outcomes) == ["right"]
    assert stacks[0].supervisor.wait(30) == 0


def test_a_slow_body_is_refused_as_the_service_does(balancer):
    [port], service = free_ports(1), urlsplit(balancer)
    own = {"LISTEN": f"127.0.0.1:{port}", "REQUEST": "1s", "STACK_1": service.netloc, "STACK_2": service.netloc}
    with subprocess.Popen(["haproxy", "-db", "-f", ROOT / "deploy/haproxy.cfg"], env=os.environ | own) as process:
        try:
            wait_until(lambda: status(f"http://127.0.0.1:{port}/readyz") == 200, 15, "HAProxy forwards")
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                head = "POST /api/mnist HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n"
                client.sendall(head.encode() + b"half")
                head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
        finally:
            process.terminate()
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["error"]["code"] == "client_too_slow"


def test_metrics_stay_inside(balancer):
    assert status(f"{balancer}/metrics") == 404
    assert status(f"{balancer}/metric%73") == 404


def test_without_a_stack_the_balancer_answers_like_the_service(stacks, balancer):
    for stack in stacks:
        stack.kill()
    time.sleep(1.5)  # HAProxy's checks fail twice
    response = requests.post(f"{balancer}/api/mnist", files={"image": SAMPLES[7]}, timeout=10)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert response.json()["error"]["code"] == "not_ready"
    assert response.json()["error"]["request_id"]
