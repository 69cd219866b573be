"""Faults of processes: what is done to workers, JVM and supervisor while clients go on asking.

Each returns the tally of the clients' requests; the caller says what it must show. `pause`: seconds that each client
waits after each answer; 0 for as much load as the machine carries.
"""

import random
import signal
import time
from collections.abc import Sequence

from tests.load import Case, Tally, at_once, load
from tests.stack import Stack, wait_until

CONNECTIONS = 64
RESTART = 120  # seconds that a restart may take on a busy machine


def one_broken_among_63(stack: Stack, cases: Sequence[Case], broken: Case, rounds: int) -> Tally:
    """64 uploads at the same moment, one of them broken, in another place each round."""
    chance, total = random.Random(1), Tally()  # noqa: S311
    for _ in range(rounds):
        together = [chance.choice(cases) for _ in range(63)]
        together.insert(chance.randrange(64), broken)
        total.add(at_once(stack.port, together))
    return total


def kill_one_worker(stack: Stack, cases: Sequence[Case], times: int, pause: float = 0) -> Tally:
    """kill -9 of a worker under load, again each time it is replaced and the service ready."""
    with load(stack.port, cases, CONNECTIONS, pause=pause) as tally:
        for _ in range(times):
            before = stack.workers()
            before[0].kill()
            wait_until(lambda old=before: len(set(stack.workers()) - {old[0]}) == len(old), RESTART, "a new worker")
            stack.wait_ready()
    return tally


def kill_all_workers(stack: Stack, cases: Sequence[Case], times: int, pause: float = 0) -> Tally:
    """kill -9 of all workers of both models at once under load."""
    with load(stack.port, cases, CONNECTIONS, pause=pause) as tally:
        for _ in range(times):
            answered = tally.right
            wait_until(lambda answered=answered: tally.right > answered + CONNECTIONS, RESTART, "load")
            before = {model: set(stack.workers(model)) for model in ("mnist_small", "mnist_large")}
            for worker in set().union(*before.values()):
                worker.kill()
            for model, old in before.items():
                wait_until(
                    lambda model=model, old=old: len(set(stack.workers(model)) - old) == len(old),
                    RESTART,
                    "new workers",
                )
            stack.wait_ready()
    return tally


def kill_java(stack: Stack, cases: Sequence[Case], times: int, pause: float = 0) -> Tally:
    """kill -9 of the JVM under load; the supervisor alone must bring it back."""
    with load(stack.port, cases, CONNECTIONS, pause=pause) as tally:
        for _ in range(times):
            before = stack.java
            before.kill()
            wait_until(lambda: not stack.ready, 10, "/readyz says that TorchServe is gone")
            stack.wait_ready(RESTART)
            assert stack.java.pid != before.pid
            time.sleep(1)
    return tally


def hang_java(stack: Stack, cases: Sequence[Case], seconds: float, pause: float = 0) -> tuple[Tally, float]:
    """SIGSTOP of the JVM under load for `seconds`, then SIGCONT; also the seconds until /readyz said so."""
    java = stack.java
    with load(stack.port, cases, CONNECTIONS, pause=pause) as tally:
        time.sleep(1)
        java.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        try:
            wait_until(lambda: not stack.ready, seconds, "/readyz says that TorchServe hangs")
            noticed = time.monotonic() - stopped
            time.sleep(max(0, seconds - noticed))
        finally:
            java.send_signal(signal.SIGCONT)
        stack.wait_ready(RESTART)
        time.sleep(1)
    assert stack.java.pid == java.pid
    return tally, noticed
