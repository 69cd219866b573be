"""Clients that are too many, too slow, too large or gone: the others are answered right."""

import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest

from proxy.settings import Settings
from tests.bad_images import huge
from tests.faults import clients
from tests.load import SAMPLES, Case, at_once, dump, load, sample_cases
from tests.raw_http import IMAGE, exchange, multipart, receive, request, upload
from tests.stack import proxy_beside, running, wait_until

PAUSE = 0.05


@pytest.fixture(scope="module")
def narrow(tmp_path_factory, model_store):
    """A service with a short queue and little patience, so that a few clients are too many and soon too slow."""
    settings = {
        "QUEUE_SIZE": "32",
        "SMALL_IN_FLIGHT": "1",
        "BATCH_SIZE": "8",
        "BODY_IDLE_SECONDS": "2",
        "MAX_BUFFERED_BYTES": str(2**24),
        "KEEP_ALIVE_SECONDS": "3",
    }
    with running(tmp_path_factory.mktemp("narrow"), MODEL_STORE=str(model_store), **settings) as stack:
        yield stack


@contextmanager
def stumbling(process):
    """The process stands still for a second now and then, as on a busy machine: all it missed comes at once."""
    ended = threading.Event()

    def stumble():
        while not ended.wait(0.9):
            process.send_signal(signal.SIGSTOP)
            time.sleep(1.1)
            process.send_signal(signal.SIGCONT)

    with ThreadPoolExecutor(1) as pool:
        stumbles = pool.submit(stumble)
        try:
            yield
        finally:
            ended.set()
            stumbles.result()


def test_a_full_queue_refuses_some_and_answers_the_others_right(narrow):
    cases = sample_cases(narrow.port)
    tally = clients.overload(narrow, cases, clients=300, seconds=4)
    assert not tally.wrong, dump(tally)
    assert not tally.lost, dump(tally)
    assert set(tally.refused) == {"503 overloaded"}, dump(tally)
    assert at_once(narrow.port, cases).right == 10


def test_a_loop_of_huge_images_fails_no_other_client(stack, cases):
    tally, statuses = clients.beside_large_pictures(stack, cases, list(huge().values()), seconds=4)
    assert tally.right == tally.sent, dump(tally)
    assert set(statuses) == {200}


def test_a_thousand_idle_connections_delay_nobody(stack, cases):
    with clients.idle_connections(stack.port, 1000) as idle, load(stack.port, cases, 16, pause=PAUSE) as tally:
        time.sleep(2)
        for each in idle[::100]:  # as a load balancer does
            each.sendall(cases[7].sent)
            assert cases[7].right(receive(each))
    assert tally.right == tally.sent, dump(tally)


def test_idle_connections_are_kept_longer_than_a_balancers_minute():
    assert Settings().keep_alive_seconds > 60


def test_connections_that_stay_idle_are_closed(stack, tmp_path):
    sent = upload(SAMPLES[7].read_bytes())
    patience = {"KEEP_ALIVE_SECONDS": "2", "BODY_IDLE_SECONDS": "1", "DEADLINE_SECONDS": "3"}
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
    with proxy_beside(stack, tmp_path, **patience) as proxy:
        [used] = clients.open_with(proxy.port, sent, 1)
        silent = [clients.open_with(proxy.port, begun, 1)[0] for begun in (b"", b"P", preface)]
        assert receive(used).status == 200
        time.sleep(1)
        used.sendall(sent)
        assert receive(used).status == 200, "an idle connection is used again"
        for each in (used, *silent):
            while each.recv(1000):  # HTTP/2 begins with settings of the server's
                pass
            each.close()


def test_a_slow_body_is_served_and_a_stalled_one_refused(narrow):
    """As a phone sends 4 MB at 1 Mbit/s: longer than BODY_IDLE_SECONDS, but never still and never very slow."""
    sent = upload(SAMPLES[7].read_bytes() + bytes(100_000))
    steady, stalled = clients.open_with(narrow.port, b"", 2)
    stalled.sendall(sent[:6000])
    for at in range(0, len(sent), 6000):  # 20,000 bytes a second, for five seconds
        steady.sendall(sent[at : at + 6000])
        time.sleep(0.3)
    assert receive(steady).status == 200
    assert receive(stalled).code == "client_too_slow"
    for each in (steady, stalled):
        each.close()


@pytest.mark.parametrize("announced", [1_000, 8_000_000])
def test_slow_bodies_are_refused_and_delay_nobody(narrow, announced):
    cases = sample_cases(narrow.port)
    with load(narrow.port, cases, 16, pause=PAUSE) as tally, stumbling(narrow.proxy):
        ends = clients.drip(narrow.port, *clients.slow_body(announced), count=500, seconds=30)
    assert ends == Counter({"408": 500})
    assert tally.right == tally.sent, dump(tally)


def test_slow_heads_are_closed_and_delay_nobody(narrow):
    cases = sample_cases(narrow.port)
    with load(narrow.port, cases, 16, pause=PAUSE) as tally, stumbling(narrow.proxy):
        ends = clients.drip(narrow.port, *clients.SLOW_HEAD, count=500, seconds=60)
    assert ends == Counter(closed=500)
    assert tally.right == tally.sent, dump(tally)


def test_clients_that_leave_free_their_places(narrow):
    cases = sample_cases(narrow.port)
    narrow.java.send_signal(signal.SIGSTOP)  # whoever comes now waits
    try:
        with ThreadPoolExecutor(64) as pool:
            waiting = [pool.submit(exchange, narrow.port, case.sent, 1.0) for case in cases * 5]
            assert all(
                isinstance(each.exception(), TimeoutError) or each.result().code == "overloaded" for each in waiting
            )
        # all have left: there is room for many again, who wait until they have lost their patience
        wait_until(lambda: not any(_refused(narrow, cases * 2)), 5, "room in the queue")
    finally:
        narrow.java.send_signal(signal.SIGCONT)
    narrow.wait_ready()


def _refused(stack, cases: list[Case]) -> list[bool]:
    """Who of these, sent at one moment, finds the queue full."""

    def refused(case: Case) -> bool:
        with suppress(TimeoutError):
            return exchange(stack.port, case.sent, 0.5).code == "overloaded"
        return False

    with ThreadPoolExecutor(len(cases)) as pool:
        return list(pool.map(refused, cases))


def test_batches_of_huge_images_delay_nobody_though_a_worker_dies(stack, cases):
    image = huge()["1-bit PNG"]
    batch = request(multipart(*[(IMAGE, image)] * 250), path="/api/mnist/batch")
    with ThreadPoolExecutor(2) as pool:
        hogs = [pool.submit(exchange, stack.port, batch) for _ in range(2)]
        time.sleep(1)
        assert [exchange(stack.port, upload(image)).status for _ in range(3)] == [200] * 3
        with load(stack.port, cases, 64) as tally:
            time.sleep(1)
            stack.workers("mnist_small")[0].kill()
            time.sleep(1)
        assert not any(hog.done() for hog in hogs), "the others had to wait for the whole batch"
        results = [each["success"] or each["error"]["code"] for hog in hogs for each in hog.result().json["results"]]
    assert set(results) <= {True, "deadline_exceeded"}
    assert True in results
    stack.wait_ready()
    assert tally.right == tally.sent, dump(tally)
