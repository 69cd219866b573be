"""The fenced code blocks of the documents, and how a test runs them: as they stand, against the service under test."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.stack import PORTS, Stack
from train.own_model import ROOT

# What takes minutes or needs an engine is looked up instead of run: a target has to exist, an option to be known.
LOOKED_UP = f"""
make() {{ command make --dry-run "$@" >/dev/null; }}
docker() {{ printf '%s ' docker "$@"; echo; }}
kubectl() {{ printf '%s ' kubectl "$@"; echo; }}
haproxy() {{ if type -P haproxy >/dev/null; then command haproxy "$@"; fi; }}
promtool() {{ if type -P promtool >/dev/null; then command promtool "$@"; fi; }}
python() {{
  case "$1 $2" in
    "-m train" | "-m bench"* | "-m tests"*) known "$@" ;;
    *) {shlex.quote(sys.executable)} "$@" ;;
  esac
}}
known() {{
  command=("${{@:1:2}}"); shift 2
  case "${{1-}}" in [a-z]*) command+=("$1"); shift ;; esac
  help=$({shlex.quote(sys.executable)} "${{command[@]}}" --help)
  for word in "$@"; do case $word in --*) grep -qF -- "${{word%%=*}}" <<<"$help" ;; esac; done
}}
"""


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


def leads_somewhere(document: Path, link: str) -> bool:
    """Whether a link in a document leads to a file that exists and, where it has a fragment, to a heading in it."""
    if "://" in link:
        return True
    name, _, fragment = link.partition("#")
    target = document.parent / name if name else document
    return target.exists() and (not fragment or fragment in anchors(target.read_text()))


def anchors(text: str) -> set[str]:
    """The fragments under which Markdown's headings can be reached."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
