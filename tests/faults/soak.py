"""Mixed load for a long time; memory and descriptors of every process are measured, growth is worked out.

Small pictures, large ones, broken and mutated ones, clients that are slow or leave. After the warm-up resident memory
may grow by less than 5 % an hour. Once all clients have left, no process may have more open descriptors than when they
had left after the warm-up.
"""

import argparse
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.images import camera
from tests import bad_images, bad_requests
from tests.faults import clients, report
from tests.load import Case, Tally, load, sample_cases
from tests.raw_http import exchange, upload
from tests.stack import Stack, running

PERIOD = 5.0  # seconds between measurements
REST = 10.0  # seconds after the last client has left until descriptors are counted: refused bodies are read for 5
GROWTH = 0.05  # most growth of resident memory an hour
LEAST = 1200  # seconds of measurement below which growth an hour is only told, not judged


@dataclass
class Phase:
    """A time of mixed load.

    Attributes:
        counts: how many requests of which kind there were beside the small pictures.
        memory: seconds since the start, and the resident bytes of every process.
        descriptors: open ones of every process once all clients have left.
    """

    tally: Tally = field(default_factory=Tally)
    counts: Counter[str] = field(default_factory=Counter)
    memory: list[tuple[float, dict[str, int]]] = field(default_factory=list)
    descriptors: dict[str, int] = field(default_factory=dict)


def named(stack: Stack) -> dict[str, psutil.Process]:
    """Every process of the service, by its part and process id."""
    parts = {stack.supervisor.pid: "supervisor", stack.proxy.pid: "proxy", stack.java.pid: "TorchServe's JVM"}
    return {f"{parts.get(process.pid, 'worker')} {process.pid}": process for process in stack.processes}


def descriptors(process: psutil.Process, upstream: int) -> int:
    """Open descriptors, without the connections at port `upstream`: the proxy keeps those for its next batches."""
    connections = process.net_connections("tcp")
    kept = [each for each in connections if each.raddr and upstream in (each.laddr.port, each.raddr.port)]
    return process.num_fds() - len(kept)


def mixed_load(stack: Stack, cases: Sequence[Case], seconds: float) -> Phase:
    """Load the service for so long, then let it rest and count descriptors."""
    phase, stop, end = Phase(), threading.Event(), time.monotonic() + seconds
    trouble = threading.Thread(target=disturb, args=(stack, cases, stop, phase.counts))
    with load(stack.port, cases, 16, pause=0.01) as phase.tally:
        trouble.start()
        while time.monotonic() < end:
            time.sleep(PERIOD)
            memory = {name: process.memory_info().rss for name, process in named(stack).items()}
            phase.memory.append((time.monotonic(), memory))
        stop.set()
        trouble.join()
    time.sleep(REST)
    upstream = stack.ports["TS_INFERENCE_PORT"]
    phase.descriptors = {name: descriptors(process, upstream) for name, process in named(stack).items()}
    return phase


def disturb(stack: Stack, cases: Sequence[Case], stop: threading.Event, counts: Counter[str]) -> None:
    """Everything but small pictures, in turn, until told to stop."""
    large = [*bad_images.huge().values(), camera()]  # the huge are blank: the last one has something to be found on it
    bad = [each for each in bad_requests.every() if isinstance(each.sent, bytes)]
    seed = 0
    while not stop.is_set():
        seed += 1
        for case in bad:
            exchange(stack.port, case.sent, half_close=case.half_close)
        for _, image in bad_images.mutated(120, seed):
            exchange(stack.port, upload(image))
        for image in large:  # every kind each time: a worker's first of a kind makes a library's code resident
            exchange(stack.port, upload(image))
        clients.leave(stack.port, cases, 50)
        clients.drip(stack.port, *clients.slow_body(100_000), count=20, seconds=60)
        counts.update({"bad requests": len(bad), "mutated": 120, "large": len(large), "left": 50, "slow": 20})


def growth(times: list[float], values: list[int]) -> float:
    """Share of its mean by which a straight line through the values rises in an hour; NaN of a single one."""
    if len(values) < 2:
        return float("nan")
    slope = np.polyfit(times, values, 1)[0]
    return float(slope * 3600 / np.mean(values))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=40, help="how long in all [40]")
    parser.add_argument("--warmup", type=float, help="minutes that are not judged [a quarter of all]")
    parser.add_argument("--report", type=Path, help="JSON file to write")


def run(args: argparse.Namespace) -> int:
    warmup = args.minutes / 4 if args.warmup is None else args.warmup
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, running(Path(folder)) as stack:
        cases = sample_cases(stack.port)
        before, after = (mixed_load(stack, cases, 60 * minutes) for minutes in (warmup, args.minutes - warmup))
        everybody = stack.processes
        code = stack.stop()
    orphans = [
        process.pid for process in everybody if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]
    return judge(args, warmup, before, after, {"exit code": code, "orphans": orphans})


def describe(name: str, before: Phase, after: Phase) -> dict[str, Any]:
    """What became of one process after the warm-up."""
    times, rss = zip(*((at, found[name]) for at, found in after.memory), strict=True)
    minutes = range(0, len(rss), round(60 / PERIOD))  # a huge picture's moment is no growth: medians of a minute
    middles = [int(np.median(rss[at : at + minutes.step])) for at in minutes]
    return {
        "process": name.rpartition(" ")[0],
        "MiB by the minute": [round(one / 2**20, 1) for one in middles],
        "growth an hour": round(growth([times[at] for at in minutes], middles), 3),
        "descriptors after warm-up": before.descriptors[name],
        "descriptors at the end": after.descriptors[name],
    }


def judge(args: argparse.Namespace, warmup: float, before: Phase, after: Phase, end: dict[str, object]) -> int:
    everybody = [*(memory.keys() for _, memory in before.memory + after.memory), after.descriptors.keys()]
    same = all(names == before.descriptors.keys() for names in everybody)
    rows = [describe(name, before, after) for name in before.descriptors] if same else []
    tally, judged = before.tally, 60 * (args.minutes - warmup) >= LEAST
    tally.add(after.tally)
    must = {
        "every request answered right": tally.right == tally.sent,
        "exit code 0 and no process left": end == {"exit code": 0, "orphans": []},
        "the same processes throughout": same,
        "no descriptors left open": all(
            each["descriptors at the end"] <= each["descriptors after warm-up"] for each in rows
        ),
        "growth under 5 % an hour": not judged or all(each["growth an hour"] < GROWTH for each in rows),
    }
    for each in rows:
        print(each)
    result = {
        "command": f"python -m tests.faults soak --minutes {args.minutes:g} --warmup {warmup:g}",
        "hardware": report.hardware(), "passed": all(must.values()), "must": must, "growth judged": judged,
        **tally.summary(), **end, "beside": before.counts + after.counts,
        "p99 of small uploads, ms": round(1000 * tally.quantile(0.99)), "processes": rows,
        "examples": (tally.wrong + tally.lost)[:5],
    }  # fmt: skip
    print({name: value for name, value in result.items() if name != "processes"})
    if args.report:
        args.report.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if result["passed"] else 1
