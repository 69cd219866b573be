"""What TorchServe's log files say about a start that fails: jvm.log, torchserve.log and worker.log, as text."""

import re
from pathlib import Path

# What a JVM says that is no complaint: options it has picked up, warnings, its own log lines.
HARMLESS = re.compile(r"Picked up |WARNING: |\[[\d.]+s\]")
# After one of these the model never starts.
FATAL = r"Failed to load model|recovery failed again|process died\.[\s\S]+(?:Error|Exception): "
EXCEPTION = r"((?:\w+\.)*\w+(?:Error|Exception): .+)"


def failure(logs: Path) -> str | None:
    """Why the model will never start, once the logs show it; None before. The first exception is the cause."""
    server, worker = _text(logs / "torchserve.log"), _text(logs / "worker.log")
    if not re.search(FATAL, server + worker):
        return None
    causes = re.findall(EXCEPTION, worker or server)
    return causes[0] if causes else "a worker died twice"


def complaint(logs: Path) -> str | None:
    """The first two lines in which the JVM complains, as one; None where it does not.

    The first line alone often says no more than that something went wrong.
    """
    lines = [line.strip() for line in _text(logs / "jvm.log").splitlines()]
    return "; ".join([line for line in lines if line and not HARMLESS.match(line)][:2]) or None


def _text(file: Path) -> str:
    return file.read_text(errors="replace") if file.exists() else ""
