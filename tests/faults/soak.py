"""Mixed load for a long time; memory and descriptors of every process are measured, growth is worked out.

Small pictures, large ones, broken and mutated ones, clients that are slow or leave. After the warm-up resident memory
may grow by less than 5 % an hour, and the least number of open descriptors not at all.
"""

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

from bench.images import camera
from tests import bad_images, bad_requests
from tests.faults import clients, report
from tests.load import Tally, load, sample_cases
from tests.raw_http import exchange, upload
from tests.stack import Stack, running

PERIOD = 5.0  # seconds between measurements
GROWTH = 0.05  # most growth of resident memory an hour
LEAST = 1200  # seconds of measurement below which growth an hour is only told, not judged


def measure(stack: Stack) -> dict[str, tuple[int, int]]:
    """Resident bytes and open descriptors of every process, by its part and number."""
    found = {}
    named = {stack.supervisor.pid: "supervisor", stack.proxy.pid: "proxy", stack.java.pid: "TorchServe's JVM"}
    for process in stack.processes:
        name = named.get(process.pid, f"worker {process.pid}")
        found[name] = process.memory_info().rss, process.num_fds()
    return found


def disturb(stack: Stack, stop: threading.Event, counts: dict[str, int]) -> None:
    """Everything but small pictures, in turn, until told to stop."""
    large = [*bad_images.huge().values(), camera()]  # the huge are blank: the last one has something to be found on it
    bad = [each for each in bad_requests.every() if isinstance(each.sent, bytes)]
    cases, seed = sample_cases(stack.port), 0
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
        cycle = {"bad requests": len(bad), "mutated": 120, "large": len(large), "left": 50, "slow": 20}
        for name, count in cycle.items():
            counts[name] = counts.get(name, 0) + count


def growth(times: list[float], values: list[int]) -> float:
    """Share of its mean by which a straight line through the values rises in an hour; NaN of a single one."""
    if len(values) < 2:
        return float("nan")
    slope = np.polyfit(times, values, 1)[0]
    return float(slope * 3600 / np.mean(values))


def leaks(files: Sequence[int]) -> bool:
    """Whether descriptors stay open: as connections come and go, the least of the last quarter is above the first's."""
    quarter = -(-len(files) // 4)
    return min(files[-quarter:]) > min(files[:quarter])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=40, help="how long in all [40]")
    parser.add_argument("--warmup", type=float, help="minutes that are not judged [a quarter of all]")
    parser.add_argument("--report", type=Path, help="JSON file to write; a table in Markdown is put beside it")


def run(args: argparse.Namespace) -> int:
    warmup = args.minutes / 4 if args.warmup is None else args.warmup
    samples: list[tuple[float, dict[str, tuple[int, int]]]] = []
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, running(Path(folder)) as stack:
        stop, begun = threading.Event(), time.monotonic()
        trouble = threading.Thread(target=disturb, args=(stack, stop, counts))
        with load(stack.port, sample_cases(stack.port), 16, pause=0.01) as tally:
            trouble.start()
            while time.monotonic() - begun < args.minutes * 60:
                time.sleep(PERIOD)
                samples.append((time.monotonic() - begun, measure(stack)))
            stop.set()
            trouble.join()
        everybody = stack.processes
        code = stack.stop()
    orphans = [
        process.pid for process in everybody if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]
    return judge(args, warmup * 60, samples, tally, counts, {"exit code": code, "orphans": orphans})


def judge(
    args: argparse.Namespace, warmup: float, samples: list, tally: Tally, counts: dict[str, int], end: dict[str, object]
) -> int:
    rows, long_enough = [], args.minutes * 60 - warmup >= LEAST
    late = [(at, found) for at, found in samples if at >= warmup]
    for name in late[-1][1]:
        times, rss, files = zip(*((at, *found[name]) for at, found in late if name in found), strict=True)
        minutes = range(0, len(rss), round(60 / PERIOD))  # a huge picture's moment is no growth: medians of a minute
        middles = [int(np.median(rss[at : at + minutes.step])) for at in minutes]
        rows.append({
            "process": name.split()[0] + (" " + str(len(rows)) if name.startswith("worker") else ""),
            "MiB after warm-up": round(rss[0] / 2**20, 1), "MiB at the end": round(rss[-1] / 2**20, 1),
            "growth an hour": f"{growth([times[at] for at in minutes], middles):.1%}",
            "MiB by the minute": [round(one / 2**20, 1) for one in middles],
            "descriptors after warm-up": files[0], "descriptors at the end": files[-1],
            "descriptors leak": leaks(files),
            "same process throughout": all(name in found for _, found in late),
        })  # fmt: skip
    grows = [row["process"] for row in rows if float(row["growth an hour"].rstrip("%")) >= GROWTH * 100]
    passed = not tally.wrong and not tally.lost and not end["orphans"] and end["exit code"] == 0
    passed = passed and tally.right == tally.sent and all(row["same process throughout"] for row in rows)
    passed = passed and not (long_enough and grows) and not any(row["descriptors leak"] for row in rows)
    for row in rows:
        print(row)
    result = {
        "command": f"python -m tests.faults soak --minutes {args.minutes:g} --warmup {warmup / 60:g}",
        "hardware": report.hardware(), "passed": passed, "growth judged": long_enough, **tally.summary(), **end,
        "beside": counts, "p99 of small uploads, ms": round(1000 * tally.quantile(0.99)), "processes": rows,
        "examples": (tally.wrong + tally.lost)[:5],
    }  # fmt: skip
    print({name: value for name, value in result.items() if name != "processes"})
    if args.report:
        args.report.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if passed else 1
