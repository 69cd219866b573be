"""Open loop: uploads leave at a fixed rate whether or not earlier ones are answered, as from many clients (luajit)."""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

CONNECTIONS = 4096  # most uploads that wait for an answer at one time
AFTER = 2.0  # seconds for the last answers: who is answered in time is answered by then


def run(url: str, pictures: Path, labels: Sequence[int], rate: float, seconds: float) -> dict[str, dict[str, float]]:
    """Send `rate` uploads a second for `seconds`.

    Args:
        labels: the digit that each picture is taken for when asked alone.

    Returns:
        For each outcome, its answers a second and percentiles of their latency in ms, counted from when the upload was
        due: good, late (after a second), wrong (another digit than alone), refused (503), `status ...`, unanswered;
        not sent: no connection was free.
    """
    total = round(rate * seconds)
    settings = {
        "BENCH_PICTURES": str(pictures),
        "BENCH_RATE": str(rate),
        "BENCH_TOTAL": str(total),
        "BENCH_LABELS": "".join(map(str, labels)),
        "BENCH_AFTER": str(AFTER),
        "BENCH_URL": url,
        "BENCH_CONNECTIONS": str(min(CONNECTIONS, total)),
    }
    command = ["luajit", str(Path(__file__).with_name("open_loop.lua"))]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=True)
    lines = re.findall(r"^answers (\d+) p50 (\S+) p99 (\S+): (.+)$", done.stdout, re.MULTILINE)
    found = {
        name: {"rate": round(int(count) / seconds, 1), "p50": float(p50), "p99": float(p99)}
        for count, p50, p99, name in lines
    }
    sent = int(re.findall(r"^sent (\d+)$", done.stdout, re.MULTILINE)[0])
    rest = {"unanswered": sent - sum(int(count) for count, *_ in lines), "not sent": total - sent}
    return found | {name: {"rate": round(count / seconds, 1)} for name, count in rest.items() if count}
