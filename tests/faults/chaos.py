"""Every fault, one after the other, on real processes under load; a report of what was sent and what became of it.

Ends with 0 when requests sent = right answers + declared refusals in every scenario and each shows what it must.
"""

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests import bad_images, bad_requests
from tests.faults import clients, processes, report
from tests.load import Case, Tally, load, sample_cases
from tests.raw_http import exchange, upload
from tests.stack import Stack, running

BROKEN = Case(upload(b"\x89PNG\r\n\x1a\n this is no picture"), 422, "undecodable_image")
NARROW = {"QUEUE_SIZE": "64", "BATCH_SIZE": "32", "SMALL_IN_FLIGHT": "2", "LARGE_IN_FLIGHT": "2"}
IDLE = {"KEEP_ALIVE_SECONDS": "15"}  # so that idle connections are closed within a minute
SMALL_P99 = 0.5  # seconds, of small uploads beside 40-megapixel ones
GOODPUT = 0.6  # of the peak, at twice the load


@dataclass
class Scenario:
    """What one fault did: the clients' tally, how often it struck, what must hold and does or does not."""

    name: str
    tally: Tally
    faults: int
    facts: dict[str, object] = field(default_factory=dict)
    must: dict[str, bool] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.tally.wrong and not self.tally.lost and all(self.must.values())

    def summary(self) -> dict[str, object]:
        known = {"scenario": self.name, "faults": self.faults, **self.tally.summary(), **self.facts, "must": self.must}
        return known | {"examples": (self.tally.wrong + self.tally.lost)[:5], "passed": self.passed}


def all_right(tally: Tally) -> dict[str, bool]:
    return {"every request answered right": tally.right == tally.sent}


def only(tally: Tally, *refusals: str) -> dict[str, bool]:
    return {f"refused only with {' or '.join(refusals)}": set(tally.refused) <= set(refusals)}


def broken(stack: Stack, cases: Sequence[Case], scale: float) -> Scenario:
    rounds = round(30 * scale)
    tally = processes.one_broken_among_63(stack, cases, BROKEN, rounds)
    return Scenario("one broken picture among 63", tally, rounds, must=all_right(tally))


def worker(stack: Stack, cases: Sequence[Case], scale: float) -> Scenario:
    times = round(20 * scale)
    tally = processes.kill_one_worker(stack, cases, times)
    return Scenario("kill -9 of a worker under 64 clients", tally, times, must=all_right(tally))


def workers(stack: Stack, cases: Sequence[Case], scale: float) -> Scenario:
    times = max(1, round(3 * scale))
    tally = processes.kill_all_workers(stack, cases, times)
    must = only(tally, "504 deadline_exceeded")
    return Scenario("kill -9 of all workers at once", tally, times, must=must)


def java(stack: Stack, cases: Sequence[Case], scale: float) -> Scenario:
    times = max(1, round(3 * scale))
    tally = processes.kill_java(stack, cases, times)
    return Scenario("kill -9 of the JVM", tally, times, must=only(tally, "503 not_ready"))


def hang(stack: Stack, cases: Sequence[Case], scale: float) -> Scenario:
    tally, noticed = processes.hang_java(stack, cases, seconds=15)
    facts = {"seconds until /readyz said 503": round(noticed, 1)}
    return Scenario("the JVM hangs for 15 s (SIGSTOP)", tally, 1, facts, only(tally, "504 deadline_exceeded"))


def overload(stack: Stack, cases: Sequence[Case], scale: float) -> Scenario:
    seconds = max(5, 60 * scale)
    peak = clients.peak(stack, cases, seconds / 4)
    with load(stack.port, cases, 600) as tally:
        time.sleep(seconds / 3)  # until then each connection has got its buffers
        before = stack.proxy.memory_info().rss
        time.sleep(seconds * 2 / 3)
        grown = stack.proxy.memory_info().rss / before - 1
    most, offered, answered = (
        n / s for n, s in ((peak.right, seconds / 4), (tally.sent, seconds), (tally.right, seconds))
    )
    facts = {
        "peak, right answers a second": round(most),
        "offered, requests a second": round(offered),
        "right answers a second": round(answered),
        "growth of the proxy's memory": f"{grown:.1%}",
    }
    must = {
        f"at least {GOODPUT:.0%} of the peak": answered >= GOODPUT * most,
        "memory flat": grown < 0.1,
    }
    return Scenario("more load than it carries", tally, 1, facts, must | only(tally, "503 overloaded"))


def large(stack: Stack, cases: Sequence[Case], scale: float) -> Scenario:
    tally, statuses = clients.beside_large_pictures(stack, cases, list(bad_images.huge().values()), max(8, 40 * scale))
    p99 = tally.quantile(0.99)
    facts = {"p99 of small uploads, ms": round(1000 * p99), "large pictures": dict(statuses)}
    must = all_right(tally) | {
        f"p99 under {SMALL_P99} s": p99 < SMALL_P99,
        "large ones answered": set(statuses) == {200},
    }
    return Scenario("one client loops 40-megapixel pictures", tally, sum(statuses.values()), facts, must)


def slow(stack: Stack, cases: Sequence[Case], scale: float) -> Scenario:
    count = round(1000 * scale)
    with clients.idle_connections(stack.port, count) as idle, load(stack.port, cases, 16, pause=0.02) as tally:
        ends = clients.drip(stack.port, *clients.slow_body(8_000_000), count=count // 2, seconds=60)
        ends += clients.drip(stack.port, *clients.SLOW_HEAD, count=count - count // 2, seconds=60)
        ends["idle closed"] = sum(each.recv(1) == b"" for each in idle)
    must = all_right(tally) | {"all closed in time": not ends["open"], "408 to slow bodies": ends["408"] >= count // 2}
    must |= {"idle connections closed": ends["idle closed"] == count}
    return Scenario(f"{count} slow and {count} idle clients", tally, 2 * count, {"how they ended": dict(ends)}, must)


def leaving(stack: Stack, cases: Sequence[Case], scale: float) -> Scenario:
    count = round(2000 * scale)
    with load(stack.port, cases, 16) as tally:
        for _ in range(10):
            clients.leave(stack.port, cases, count // 10)
            time.sleep(0.2)
    return Scenario("clients that leave at once", tally, count, must=all_right(tally))


def bad_input(stack: Stack, cases: Sequence[Case], scale: float) -> Scenario:
    """Requests and pictures that are wrong; a right answer is the status that the contract has for it."""
    tally = Tally()
    before = {each.pid for each in stack.workers() + stack.workers("mnist_large")}
    for case in bad_requests.every():
        answer = exchange(stack.port, case.sent, half_close=case.half_close)
        _count(tally, case.name, answer.status if answer else None, {case.status})
    for name, (image, status) in bad_images.bombs().items():
        answer = exchange(stack.port, upload(image))
        _count(tally, name, answer.status if answer else None, {status})
    images = [*bad_images.truncated(), *bad_images.mutated(round(6000 * scale), seed=2)]
    answers = asyncio.run(clients.ask_all(stack.port, [upload(image) for _, image in images]))
    for (name, _), got in zip(images, answers, strict=True):
        _count(tally, name, got.status if got else None, {200, 400, 413, 422})
    after = {each.pid for each in stack.workers() + stack.workers("mnist_large")}
    return Scenario(
        "bad requests, bombs, cut and mutated pictures", tally, tally.sent, must={"no worker died": before == after}
    )


def _count(tally: Tally, name: str, status: int | None, allowed: set[int]) -> None:
    tally.sent += 1
    if status is None:
        tally.lost.append(name)
    elif status in allowed:
        tally.right += 1
    else:
        tally.wrong.append(f"{name}: {status}")


def counted(one: Scenario) -> Counter[str]:
    tally = one.tally
    refused, wrong, lost = sum(tally.refused.values()), len(tally.wrong), len(tally.lost)
    return Counter(faults=one.faults, sent=tally.sent, right=tally.right, refused=refused, wrong=wrong, lost=lost)


SCENARIOS: tuple[tuple[Callable[..., Scenario], dict[str, str]], ...] = (
    (broken, {}), (bad_input, {}), (leaving, {}), (slow, IDLE), (large, {}), (worker, {}), (workers, {}), (java, {}),
    (hang, {}), (overload, NARROW),
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scale", type=float, default=1.0, help="0.1 for a tenth of the faults [1]")
    parser.add_argument("--only", nargs="*", help="names of scenarios, such as java hang")
    parser.add_argument("--report", type=Path, help="JSON file to write; a table in Markdown is put beside it")


def run(args: argparse.Namespace) -> int:
    begun, done = time.monotonic(), []
    chosen = [(one, settings) for one, settings in SCENARIOS if not args.only or one.__name__ in args.only]
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        for settings in ({}, IDLE, NARROW):
            mine = [one for one, own in chosen if own == settings]
            if not mine:
                continue
            home = Path(folder, str(len(settings)))
            home.mkdir()
            with running(home, **settings) as stack:
                cases = sample_cases(stack.port)
                for one in mine:
                    stack.wait_ready()
                    print(f"{one.__name__} ...", flush=True)
                    done.append(one(stack, cases, args.scale))
                    print(report.line(done[-1].summary()), flush=True)
    total = sum((counted(one) for one in done), Counter())
    passed = all(one.passed for one in done) and total["sent"] == total["right"] + total["refused"]
    if args.report:
        command = f"python -m tests.faults chaos --scale {args.scale:g}"
        report.write(
            args.report, command, time.monotonic() - begun, [one.summary() for one in done], dict(total), passed
        )
    print(f"{dict(total)}: {'passed' if passed else 'FAILED'}")
    return 0 if passed else 1
