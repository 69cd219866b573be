"""The fenced code blocks of the documents, and how a test runs them: as they stand, against the service under test."""

import re
import subprocess

from tests.faults.stack import PORTS, Stack
from train.pack import ROOT


def blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks of a language."""
    return re.findall(rf"^```(?:{language})\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def here(code: str, service: Stack) -> str:
    """The code with the default ports and folders replaced by those of the service under test."""
    for port, name in zip(("3001", "8080", "8081", "8082"), PORTS, strict=True):
        code = re.sub(rf"(localhost|127\.0\.0\.1):{port}", f"127.0.0.1:{service.ports[name]}", code)
    return code.replace("run/3001", f"{service.run}/{service.port}")


def shell(script: str, prelude: str = "") -> str:
    """What a script writes; every command in it must succeed, curl with a good status."""
    strict = 'set -euo pipefail\ncurl() { command curl -sS --fail-with-body "$@"; echo; }\n'
    done = subprocess.run(
        ["bash", "-c", strict + prelude + script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
