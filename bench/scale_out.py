"""`python -m bench.scale_out`: what a second stack is worth, each stack on one core, behind HAProxy.

two stacks (taskset) -> HAProxy before one, HAProxy before both -> wrk at either in turn -> req/s, CPU time by program

The load generator and HAProxy need CPU as well. On a machine of two cores two stacks leave none for them, so the CPU
time that an answer costs each program is measured beside the throughput: that is what carries over to larger machines.
"""

import argparse
import os
import re
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Run:
    """Answers a second, 99th percentile in ms, CPU time of each program in us an answer."""

    rate: float
    p99: str
    cost: dict[str, float]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def running(command: list[str], settings: dict[str, str], url: str) -> Iterator[psutil.Process]:
    """A process for the time of the block, which begins when `url` answers 200; RuntimeError if it never does."""
    process = psutil.Popen(command, cwd=ROOT, env=os.environ | settings, stdout=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            try:
                urllib.request.urlopen(url, timeout=1).close()  # noqa: S310
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise RuntimeError(f"{' '.join(command)} does not answer at {url}")
        yield process
    finally:
        process.terminate()
        process.wait(40)


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """User and system time so far of these processes and all below them."""
    family = {each for process in processes for each in (process, *process.children(recursive=True))}
    return sum(sum(each.cpu_times()[:2]) for each in family)


def measure(url: str, programs: dict[str, list[psutil.Process]], connections: int, seconds: int, pictures: Path) -> Run:
    before = {name: cpu_seconds(processes) for name, processes in programs.items()}
    wrk = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "10s",
        "--latency",
        "-s",
        "bench/upload.lua",
        f"{url}/api/mnist",
    ]
    times = os.times()
    output = subprocess.run(
        wrk, cwd=ROOT, env=os.environ | {"BENCH_PICTURES": str(pictures)}, check=True, capture_output=True, text=True
    ).stdout
    if trouble := re.search(r"(Non-2xx|Socket errors).*", output):
        raise RuntimeError(trouble[0])
    answers = int(re.search(r"(\d+) requests in", output)[1])  # type: ignore[index]
    used = {name: cpu_seconds(processes) - before[name] for name, processes in programs.items()}
    used["wrk"] = sum(os.times()[2:4]) - sum(times[2:4])
    p99 = re.search(r"99%\s+(\S+)", output)[1]  # type: ignore[index]
    return Run(answers / seconds, p99, {name: spent / answers * 1e6 for name, spent in used.items()})


def stack(home: Path, core: int) -> tuple[list[str], dict[str, str], str]:
    port = str(free_port())
    settings = {f"TS_{name}_PORT": str(free_port()) for name in ("INFERENCE", "MANAGEMENT", "METRICS")}
    settings |= {"PORT": port, "RUN_DIR": str(home), "LOG_FORMAT": "off"}
    return ["taskset", "-c", str(core), sys.executable, "-m", "serve"], settings, f"http://127.0.0.1:{port}/readyz"


def balancer(ports: list[str]) -> tuple[list[str], dict[str, str], str]:
    nobody = str(free_port())
    settings = {f"STACK_{n}": f"127.0.0.1:{port}" for n, port in enumerate((*ports, nobody)[:2], 1)}
    settings["LISTEN"] = f"127.0.0.1:{free_port()}"
    return ["haproxy", "-db", "-q", "-f", "deploy/haproxy.cfg"], settings, f"http://{settings['LISTEN']}/readyz"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scale_out", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=8, help="of each run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="one stack and two in turn (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=64, help="for each stack (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scale-out-") as temp, ExitStack() as started:
        pictures = Path(temp, "pictures.bin")
        samples = [(ROOT / f"samples/{digit}.png").read_bytes() for digit in range(10)]
        pictures.write_bytes(b"".join(struct.pack("!I", len(sample)) + sample for sample in samples))
        starts = [stack(Path(temp, str(core)), core) for core in (0, 1)]
        stacks = [started.enter_context(running(*start)) for start in starts]
        ports = [settings["PORT"] for _, settings, _ in starts]
        runs: dict[int, list[Run]] = {1: [], 2: []}
        urls = {}
        for number in runs:
            command, settings, url = balancer(ports[:number])
            urls[number] = (url.removesuffix("/readyz"), started.enter_context(running(command, settings, url)))
        time.sleep(3)  # until HAProxy's checks have seen who is there
        for turn in range(-1, args.rounds):
            for number, (url, haproxy) in urls.items():
                programs = {"stacks": stacks, "HAProxy": [haproxy]}
                run = measure(url, programs, args.connections * number, args.seconds, pictures)
                runs[number] += [run] if turn >= 0 else []  # the first round warms up
                costs = ", ".join(f"{name} {cost:.0f}" for name, cost in run.cost.items())
                print(f"{number} stack(s): {run.rate:,.0f} req/s, p99 {run.p99}, CPU us an answer: {costs}", flush=True)
    rates = {number: statistics.median(run.rate for run in those) for number, those in runs.items()}
    print(f"median: {rates[1]:,.0f} and {rates[2]:,.0f} req/s, ratio {rates[2] / rates[1]:.2f}")


if __name__ == "__main__":
    main()
