"""Two complete stacks behind HAProxy: what happens to uploads when one of them dies, stops, or comes back."""

import asyncio
import collections
import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import psutil
import pytest
import requests

ROOT = Path(__file__).parent.parent.parent
SAMPLES = [(ROOT / f"samples/{digit}.png").read_bytes() for digit in range(10)]
NAMES = "zero one two three four five six seven eight nine".split()
CLIENTS = 24

pytestmark = pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is missing (Debian: apt install haproxy)")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def status(url: str) -> int | None:
    try:
        return requests.get(url, timeout=3).status_code
    except requests.RequestException:
        return None


def stuffed(png: bytes, size: int) -> bytes:
    """The same picture with a private chunk of `size` bytes in front of the end, which decoders skip."""
    chunk = b"teSt" + bytes(size)
    end = png.rindex(b"IEND") - 4
    return png[:end] + struct.pack("!I", size) + chunk + struct.pack("!I", zlib.crc32(chunk)) + png[end:]


class Stack:
    """`python -m serve` on ports of its own."""

    def __init__(self, home: Path) -> None:
        self.port, self._home = free_port(), home
        self._ports = {f"TS_{name}_PORT": str(free_port()) for name in ("INFERENCE", "MANAGEMENT", "METRICS")}
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        settings = {"PORT": str(self.port), "RUN_DIR": str(self._home), "DRAIN_SECONDS": "3", "LOG_FORMAT": "off"}
        with (self._home / "out.log").open("ab") as log:
            self.process = psutil.Popen(
                [sys.executable, "-m", "serve"], cwd=ROOT, env=os.environ | self._ports | settings, stdout=log, stderr=log
            )

    def wait(self) -> None:
        wait_until(lambda: self.process.poll() is not None or status(f"{self.url}/readyz") == 200, 90, "ready")
        assert self.process.poll() is None, (self._home / "out.log").read_text()

    def kill(self) -> None:
        """SIGKILL for all of it at once: supervisor, proxy, JVM, workers. Nobody gets to say goodbye."""
        if self.process.poll() is not None:
            return
        family = [self.process, *self.process.children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        psutil.wait_procs(family, timeout=10)

    def answered(self) -> float:
        """Uploads that this stack has answered with 200."""
        lines = requests.get(f"{self.url}/metrics", timeout=5).text.splitlines()
        wanted = [line for line in lines if line.startswith("mnist_requests_total{") and 'endpoint="/api/mnist"' in line]
        return sum(float(line.split()[-1]) for line in wanted if 'status="200"' in line)


@pytest.fixture(scope="module")
def stacks(tmp_path_factory) -> Iterator[list[Stack]]:
    both = []
    try:
        for number in (1, 2):  # one after the other: a start takes all the CPU there is
            both.append(Stack(tmp_path_factory.mktemp(f"stack{number}")))
            both[-1].wait()
        yield both
    finally:
        for stack in both:
            stack.kill()


@pytest.fixture(scope="module")
def balancer(stacks) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    places = {"LISTEN": address} | {f"STACK_{n}": f"127.0.0.1:{stack.port}" for n, stack in enumerate(stacks, 1)}
    process = subprocess.Popen(["haproxy", "-db", "-f", ROOT / "deploy/haproxy.cfg"], env=os.environ | places)
    try:
        wait_until(lambda: status(f"http://{address}/readyz") == 200, 15, "HAProxy forwards")
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(autouse=True)
def both_ready(stacks, balancer) -> None:
    for stack in stacks:
        if stack.process.poll() is not None:
            stack.start()
        stack.wait()
    time.sleep(2)  # HAProxy's checks see it as well


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
                async with session.post(f"{url}/api/mnist", data=body, headers={"Content-Type": "image/png"}) as response:
                    answer = await response.json(content_type=None)
                    right = response.status == 200 and answer["predictions"]["prediction"]["class_name"] == NAMES[digit]
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
    before = [stack.answered() for stack in stacks]
    outcomes = asyncio.run(load(balancer, 3))
    assert list(outcomes) == ["right"]
    shares = [stack.answered() - was for stack, was in zip(stacks, before, strict=True)]
    assert sum(shares) == outcomes["right"]
    assert min(shares) > 0.2 * sum(shares)


def test_a_killed_stack_loses_no_upload_and_comes_back(stacks, balancer):
    outcomes = asyncio.run(load(balancer, 9, stacks[0].kill))
    assert list(outcomes) == ["right"]
    assert outcomes["right"] > CLIENTS
    stacks[0].start()
    stacks[0].wait()
    time.sleep(2)
    assert list(asyncio.run(load(balancer, 3))) == ["right"]
    assert stacks[0].answered() > 0


def test_a_killed_stack_loses_no_large_upload(stacks, balancer):
    outcomes = asyncio.run(load(balancer, 9, stacks[1].kill, large=8 * 1024 * 1024 - 4096))
    assert list(outcomes) == ["right"]


def test_a_stack_that_is_told_to_stop_drains(stacks, balancer):
    outcomes = asyncio.run(load(balancer, 12, lambda: stacks[0].process.send_signal(signal.SIGTERM)))
    assert list(outcomes) == ["right"]
    assert stacks[0].process.wait(30) == 0


def test_metrics_stay_inside(balancer):
    assert status(f"{balancer}/metrics") == 404


def test_without_a_stack_the_balancer_answers_like_the_service(stacks, balancer):
    for stack in stacks:
        stack.kill()
    time.sleep(2)
    response = requests.post(f"{balancer}/api/mnist", files={"image": SAMPLES[7]}, timeout=10)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert response.json()["error"]["code"] == "not_ready"
    assert response.json()["error"]["request_id"]
