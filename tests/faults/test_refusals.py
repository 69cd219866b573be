"""A refusal names its cause in the metrics and in the access log: an operator sees at once what was missing."""

import re
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests

from tests.bad_images import huge
from tests.faults.clients import open_with
from tests.load import SAMPLES
from tests.raw_http import request
from tests.stack import free_ports, proxy_beside, wait_until

SEVEN = SAMPLES[7].read_bytes()
IMAGES = {"small": SEVEN, "large": SEVEN + bytes(20_000), "isolated": huge()["1-bit PNG"]}
# One batch of one image in flight, and one image waiting.
NARROW = {
    "BATCH_SIZE": "1",
    "QUEUE_SIZE": "1",
    "SMALL_IN_FLIGHT": "1",
    "LARGE_IN_FLIGHT": "1",
    "DEADLINE_SECONDS": "2",
}


def post(proxy, image: bytes = SEVEN) -> requests.Response:
    return requests.post(f"http://127.0.0.1:{proxy.port}/api/mnist", files={"image": image}, timeout=60)


def refusals(proxy) -> dict[str, float]:
    """Refusals so far, by cause."""
    told = re.findall(r'^mnist_refusals_total\{cause="(\w+)"\} (\S+)$', proxy.get("/metrics"), re.MULTILINE)
    return {cause: float(count) for cause, count in told if float(count)}


def buffered(proxy) -> float:
    return float(re.search(r"^mnist_buffered_bytes (\S+)$", proxy.get("/metrics"), re.MULTILINE)[1])


def logged(proxy) -> set[tuple[str, str]]:
    """(code, cause) of the lines that have a cause."""
    return {(line["code"], line["cause"]) for line in proxy.log if line["cause"]}


@contextmanager
def frozen(process):
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("size_class", IMAGES)
def test_a_full_queue_is_named(stack, tmp_path, size_class):
    with proxy_beside(stack, tmp_path, **NARROW) as proxy:
        with frozen(stack.java), ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: post(proxy, IMAGES[size_class]), range(6)))
        refused = [answer.json()["error"]["code"] for answer in answers].count("overloaded")
        assert refused >= 3
        cause = f"{size_class}_queue_full"
        assert refusals(proxy) == {cause: refused}
        wait_until(lambda: ("overloaded", cause) in logged(proxy), 5, "a line in the log")
        stack.wait_ready()


def test_a_full_queue_refuses_its_own_size_class_alone(stack, tmp_path):
    with proxy_beside(stack, tmp_path, **NARROW) as proxy:
        with frozen(stack.java), ThreadPoolExecutor(6) as pool:
            small = [pool.submit(post, proxy) for _ in range(4)]
            wait_until(lambda: refusals(proxy).get("small_queue_full", 0) >= 2, 3, "a full queue of small requests")
            large = post(proxy, IMAGES["large"])
            assert {each.result().json()["error"]["code"] for each in small} == {"overloaded", "deadline_exceeded"}
        assert large.json()["error"]["code"] == "deadline_exceeded"
        stack.wait_ready()


def test_full_memory_is_named(stack, tmp_path):
    with proxy_beside(stack, tmp_path, MAX_BUFFERED_BYTES=str(2**20)) as proxy:
        slow = open_with(proxy.port, request(bytes(900_000), "image/png", length=4_000_000), 1)
        wait_until(lambda: buffered(proxy) > 800_000, 5, "the bytes of the slow body")
        answer = post(proxy, bytes(300_000))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        assert refusals(proxy) == {"buffer_full": 1}
        wait_until(lambda: logged(proxy) == {("overloaded", "buffer_full")}, 5, "a line in the log")
        assert post(proxy).status_code == 200, "small requests still have room"
        slow[0].close()


def test_a_start_without_torchserve_is_named(stack, tmp_path):
    [nobody] = free_ports(1)
    with proxy_beside(stack, tmp_path, ready=False, TS_INFERENCE_PORT=str(nobody)) as proxy:
        answer = post(proxy)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
        assert 'mnist_refusals_total{cause="starting"} 1.0' in proxy.get("/metrics")
        assert re.search(r'^mnist_state\{state="starting"\} 1', proxy.get("/metrics"), re.MULTILINE)
        wait_until(lambda: logged(proxy) == {("not_ready", "starting")}, 5, "a line in the log")
