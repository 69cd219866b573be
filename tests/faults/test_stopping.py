"""SIGTERM under load, a supervisor that is killed: what was admitted is answered, nobody is left behind."""

import signal
import time

import psutil
import pytest

from tests.faults import clients
from tests.faults.load import dump, load, sample_cases
from tests.faults.stack import running, wait_until
from tests.faults.wire import receive, request

GRACE = 8


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
        began = time.monotonic()
        wait_until(lambda: _draining(brief), 1, "/readyz says 503 while requests are still answered")
        right = tally.right
        assert brief.supervisor.wait(60) == 0
        took = time.monotonic() - began
    assert tally.right > right, "requests were admitted after /readyz had said 503, and answered"
    assert not tally.wrong, dump(tally)
    assert not tally.lost, dump(tally)
    assert set(tally.refused) <= {"503 not_ready"}, dump(tally)
    assert took < 1 + GRACE + 2 + 10  # drain, grace, the proxy's last two seconds, TorchServe's own end
    assert not [process for process in everybody if process.is_running()]
    for connection in slow + deaf:
        connection.close()


def _draining(stack):
    answer = stack.get("/readyz")
    return answer is not None and answer[0] == 503 and "retry-after" in answer[1]


def test_an_admitted_upload_is_answered_after_sigterm(brief):
    [connection] = clients.open_with(brief.port, request(b"x" * 100, length=200, kind="image/png"), 1)
    time.sleep(0.3)  # admitted: the head and half of the body are there
    brief.supervisor.send_signal(signal.SIGTERM)
    time.sleep(2)  # the proxy takes nothing new any more
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
