"""What a run found, for people and for machines: a JSON file and a table in Markdown beside it."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

COLUMNS = ("faults", "sent", "right", "refused", "wrong", "lost")


def hardware() -> str:
    model = next(
        (
            line.partition(": ")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{len(os.sched_getaffinity(0))} cores of {model}, {gigabytes:.0f} GiB; load generator on the same machine"


def line(summary: Mapping[str, Any]) -> str:
    """One scenario in one line."""
    rest = {name: value for name, value in summary.items() if name not in ("scenario", "must", "examples")}
    failed = [name for name, holds in summary["must"].items() if not holds]
    return f"  {summary['scenario']}: {rest}" + (
        f" FAILED: {failed} {summary['examples']}" if not summary["passed"] else ""
    )


def write(
    path: Path,
    command: str,
    seconds: float,
    scenarios: Sequence[Mapping[str, Any]],
    total: Mapping[str, Any],
    passed: bool,
) -> None:
    """Write `path` and the table beside it."""
    head = {
        "command": command,
        "day": f"{datetime.now(UTC):%Y-%m-%d}",
        "hardware": hardware(),
        "seconds": round(seconds),
        "passed": passed,
    }
    path.write_text(json.dumps(head | {"total": total, "scenarios": scenarios}, indent=2) + "\n")
    path.with_suffix(".md").write_text(_markdown(head, scenarios, total))


def _markdown(head: Mapping[str, Any], scenarios: Sequence[Mapping[str, Any]], total: Mapping[str, Any]) -> str:
    text = f"# What was broken, and what clients saw\n\nMade by `{head['command']}` "
    text += f"on {head['day']}, in {head['seconds']} s; {head['hardware']}.\n\n"
    text += f"| scenario | {' | '.join(COLUMNS)} | found |\n|---|{'---:|' * len(COLUMNS)}---|\n"
    for one in scenarios:
        refused = ", ".join(f"{count} x {name}" for name, count in one["refused"].items()) or "0"
        cells = [refused if name == "refused" else f"{one[name]:,}" for name in COLUMNS]
        told = {"scenario", *COLUMNS, "must", "examples", "passed"}
        found = "; ".join(f"{name}: {value}" for name, value in one.items() if name not in told)
        text += f"| {one['scenario']}{'' if one['passed'] else ' (**failed**)'} | {' | '.join(cells)} | {found} |\n"
    return text + f"| **all** | {' | '.join(f'**{total.get(name, 0):,}**' for name in COLUMNS)} | |\n"
