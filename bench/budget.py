"""`python -m bench.budget`: where the time of a request goes, hop by hop, alone and at 64 and 256 connections.

Time comes from the proxy's access log (receive, queue, upstream, total) and from wrk, CPU time from the kernel's
accounts of each program, divided by the answers. `--cores 0` keeps the whole service on one core.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

from bench import closed_loop, images
from bench.servers import ours
from tests.stack import Stack

PROGRAMS = {"model_service_worker": "workers", "ModelServer": "TorchServe", "-m proxy": "proxy"}
HOPS = ("receive", "queue", "upstream", "total")
WARM = 5  # seconds of load before: TorchServe's JVM compiles what it runs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.budget", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=int, default=5, help="whole seconds of each run (default: %(default)s)")
    parser.add_argument("--cores", default="", help="cores the service may use, such as 0 or 0,1 (default: all)")
    args = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("error: wrk is missing; apt-get install wrk (Debian, Ubuntu) or brew install wrk")
    with tempfile.TemporaryDirectory(prefix="mnist-budget-") as folder:
        file = images.write(Path(folder))["png"]
        stack = Stack(Path(folder))
        stack.start()
        try:
            if args.cores:
                pin(stack, args.cores)
            service, direct = ours(stack)
            for server in (direct, service):
                closed_loop.run(server, 64, WARM, file)
            alone = closed_loop.run(direct, 1, args.seconds, file)
            print(f"TorchServe asked directly, 1 connection: {alone.rate:.0f}/s, p50 {alone.p50:.2f} ms")
            for connections in (1, 16, 64, 256):
                print(json.dumps(measured(stack, connections, args.seconds, file)), flush=True)
        finally:
            stack.stop()


def pin(stack: Stack, cores: str) -> None:
    """Keep every thread of the service on these cores."""
    for process in stack.processes:
        subprocess.run(["taskset", "-acp", cores, str(process.pid)], check=True, stdout=subprocess.DEVNULL)


def measured(stack: Stack, connections: int, seconds: int, file: Path) -> dict[str, object]:
    """Rate, latency, hops in ms (medians) and CPU time in us an answer by program."""
    log, before = stack.output.stat().st_size, cpu_seconds(stack)
    run = closed_loop.run(ours(stack)[0], connections, seconds, file)
    used = cpu_seconds(stack)
    used.subtract(before)
    answers = run.rate * seconds
    time.sleep(1)  # the access log is written ten times a second
    lines = [json.loads(line) for line in stack.output.read_bytes()[log:].splitlines() if line.startswith(b'{"time"')]
    hops = {hop: round(median(line["ms"][hop] for line in lines), 3) for hop in HOPS}
    cost = {program: round(spent / answers * 1e6) for program, spent in used.items()}
    return {
        "connections": connections,
        "rate": round(run.rate),
        "p50": run.p50,
        "p99": run.p99,
        "ms": hops,
        "cpu_us": cost,
    }


def cpu_seconds(stack: Stack) -> Counter[str]:
    """CPU time of each program so far."""
    spent: Counter[str] = Counter()
    for process in stack.processes:
        line = " ".join(process.cmdline())
        times = process.cpu_times()
        spent[next((name for word, name in PROGRAMS.items() if word in line), "supervisor")] += (
            times.user + times.system
        )
    return spent


if __name__ == "__main__":
    main()
