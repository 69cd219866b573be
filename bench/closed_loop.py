"""Closed loop: so many connections, each sends its next upload when the last one is answered (wrk)."""

import os
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.servers import Server

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Run:
    """Answers a second, latency in ms, and how many answers were no 200 or did not come."""

    rate: float
    p50: float
    p99: float
    failed: int

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def run(server: Server, connections: int, seconds: float, pictures: Path, parts: int = 1) -> Run:
    """Load `server` for `seconds`, whole ones, with uploads of `parts` pictures each."""
    settings = {"BENCH_PICTURES": str(pictures), "BENCH_PARTS": str(parts)}
    if server.token:
        settings["BENCH_TOKEN"] = server.token
    script = Path(__file__).with_name("upload.lua")
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds:.0f}s",
        "--timeout",
        "20s",
        "--latency",
        "-s",
        str(script),
    ]
    done = subprocess.run([*command, server.url], env=os.environ | settings, capture_output=True, text=True, check=True)
    return parse(done.stdout)


def parse(text: str) -> Run:
    """What wrk printed."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    not_200 = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = int(not_200[1]) if not_200 else 0
    failed += sum(map(int, errors.groups())) if errors else 0
    return Run(float(rate[1]) if rate else 0.0, _ms(text, "50%"), _ms(text, "99%"), failed)


def _ms(text: str, percentile: str) -> float:
    found = re.search(rf"\s{percentile}\s+([\d.]+)(us|ms|s|m)\n", text)
    return float(found[1]) * _UNITS[found[2]] if found else float("nan")
