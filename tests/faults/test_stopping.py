"""SIGTERM under load, a supervisor that is killed: what was admitted is answered, nobody is left behind."""

import http.client
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
import requests
import urllib3

from tests.faults import clients
from tests.load import SAMPLES, dump, load, sample_cases
from tests.raw_http import BOUNDARY, receive, request, upload
from tests.stack import proxy_beside, running, wait_until

GRACE = 4


@pytest.fixture
def brief(tmp_path, model_store):
    with running(tmp_path, MODEL_STORE=str(model_store), GRACE_SECONDS=str(GRACE), DRAIN_SECONDS="1") as stack:
        yield stack


def test_sigterm_under_load_loses_nothing(brief):
    cases, everybody = sample_cases(brief.port), brief.processes
    slow = clients.open_with(brief.port, request(b"", length=5000), 20)
    deaf = clients.open_with(brief.port, request(cases[0].sent, path="/api/mnist/batch", kind="image/png"), 5)
    with clients.idle_connections(brief.port, 200), load(brief.port, cases, 64, until_refused=True) as tally:
        time.sleep(1)
        brief.supervisor.send_signal(signal.SIGTERM)
        wait_until(lambda: _draining(brief), 1, "/readyz says 503 while requests are still answered")
        right = tally.right
        # drain, grace, the proxy's last seconds, TorchServe's own end: none waits for the slow
        assert brief.supervisor.wait(1 + GRACE + 12) == 0
    assert tally.right > right, "requests were admitted after /readyz had said 503, and answered"
    assert not tally.wrong, dump(tally)
    assert not tally.lost, dump(tally)
    assert set(tally.refused) <= {"503 not_ready"}, dump(tally)
    assert not [process for process in everybody if process.is_running()]
    for connection in slow + deaf:
        connection.close()


BODY = upload(SAMPLES[7].read_bytes())
FORM = BODY.partition(b"\r\n\r\n")[2]
HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def with_http_client(port: int) -> list[object]:
    """What a client in a closed loop sees on its kept-alive connection until a new one is refused."""
    seen, connection = list[object](), http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while True:
        if connection.sock is None:
            try:
                connection.connect()
            except ConnectionRefusedError:
                return [*seen, "refused"]
        try:
            connection.request("POST", "/api/mnist", FORM, HEADERS)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            return [*seen, repr(error)]
        seen.append(answer.status)


def with_requests(port: int) -> list[object]:
    """The same with a requests.Session."""
    seen, session = list[object](), requests.Session()
    while True:
        try:
            answer = session.post(f"http://127.0.0.1:{port}/api/mnist", FORM, headers=HEADERS, timeout=30)
        except requests.ConnectionError as error:
            reason = getattr(error.args[0], "reason", error)
            refused = isinstance(reason, urllib3.exceptions.NewConnectionError)
            return [*seen, "refused" if refused else repr(error)]
        seen.append(answer.status_code)


@pytest.mark.parametrize("client", [with_http_client, with_requests])
@pytest.mark.parametrize("attempt", range(2))
def test_a_stop_resets_no_client_in_a_closed_loop(stack, tmp_path, client, attempt):
    with proxy_beside(stack, tmp_path) as proxy, ThreadPoolExecutor(16) as pool:
        clients_seen = [pool.submit(client, proxy.port) for _ in range(16)]
        time.sleep(0.5 + attempt / 7)
        assert proxy.stop() == 0
        seen = [each.result() for each in clients_seen]
    assert {each[-1] for each in seen} == {"refused"}
    assert {status for each in seen for status in each[:-1]} == {200, 503}


def test_a_stopping_service_answers_requests_on_idle_connections(stack, tmp_path):
    with proxy_beside(stack, tmp_path) as proxy:
        idle = clients.open_with(proxy.port, BODY, 8)
        assert [receive(each).status for each in idle] == [200] * 8
        [last] = clients.open_with(proxy.port, request(b"x" * 100, length=200, kind="image/png"), 1)
        wait_until(lambda: "mnist_requests_in_flight 2.0" in proxy.get("/metrics"), 5, "the last upload is admitted")
        proxy.process.terminate()
        wait_until(lambda: 'mnist_state{state="closing"} 1.0' in proxy.get("/metrics"), 5, "the service stops")
        for each in idle:
            each.sendall(BODY)
        for answer in map(receive, idle):
            assert (answer.status, answer.code) == (503, "not_ready")
            assert answer.headers["retry-after"].isdigit()
            assert answer.headers["connection"] == "close"
        last.sendall(b"x" * 100)
        assert receive(last).code == "undecodable_image"
        assert proxy.process.wait(30) == 0
        for each in (*idle, last):
            each.close()


def _draining(stack):
    answer = stack.get("/readyz")
    return answer is not None and answer[0] == 503 and "retry-after" in answer[1]


def test_an_admitted_upload_is_answered_after_sigterm(brief):
    [connection] = clients.open_with(brief.port, request(b"x" * 100, length=200, kind="image/png"), 1)
    time.sleep(0.3)  # admitted: the head and half of the body are there
    brief.supervisor.send_signal(signal.SIGTERM)
    time.sleep(1.5)  # the proxy takes nothing new any more
    connection.sendall(b"x" * 100)
    answer = receive(connection)
    assert answer.code == "undecodable_image"
    assert brief.supervisor.wait(60) == 0


def test_nobody_outlives_a_supervisor_that_is_killed(brief):
    everybody = brief.processes
    assert len(everybody) >= 5
    brief.supervisor.kill()
    _, alive = psutil.wait_procs(everybody, timeout=30)
    for process in alive:  # so that the failing test leaves nobody behind either
        process.kill()
    assert not alive
