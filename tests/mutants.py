"""`python -m tests.mutants`: mutmut changes proxy/ and handler/ in one place at a time; what no test notices is told.

It works on a copy of the tree in run/mutants, which it keeps: the next run goes on where time was up, and tries
functions that have changed again.
"""

import argparse
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

from tests.stack import ROOT

TREE = ROOT / "run/mutants"
# Mutmut knows a mutant by the name that its module is imported under, and takes `src` for a folder of imports.
PLACES = {"handler": "src", "proxy": "src/proxy", "samples": "src/samples"}
CONFIGURATION = """
[mutmut]
source_paths = src
only_mutate =
{only}
also_copy =
{copied}
pytest_add_cli_args =
    --override-ini=pythonpath=src
    --ignore=tests/unit/test_deploy.py
pytest_add_cli_args_test_selection =
{tests}
timeout_multiplier = 5
process_isolation = forkserver
"""


def copy_tree(tree: Path) -> None:
    """Copy the tree anew, except for what mutmut knows of it. It tells by its time whether a file has changed."""
    clear(tree, "mutants")
    clear(tree / "mutants", "src", "mutmut-stats.json")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        folder, _, rest = name.partition("/")
        for place in {folder, PLACES.get(folder, folder)} if (ROOT / name).is_file() else ():
            (tree / place / rest).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / place / rest if rest else tree / name)
    (tree / "mutants/data").symlink_to(ROOT / "data")


def clear(folder: Path, *kept: str) -> None:
    """An empty folder, but for these."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def configure(tree: Path, only: list[str], tests: list[str]) -> None:
    chosen = [re.sub(r"^(handler|proxy)/", lambda match: f"{PLACES[match[1]]}/", name) for name in only] or ["src/*"]
    copied = sorted(path.name for path in tree.iterdir() if path.name not in ("src", "mutants", "setup.cfg"))
    values = {"only": chosen, "copied": copied, "tests": tests}
    lines = {name: "\n".join(f"    {value}" for value in words) for name, words in values.items()}
    (tree / "setup.cfg").write_text(CONFIGURATION.format(**lines))


def mutmut(*words: str, seconds: float | None = None) -> str:
    """What it prints; it is interrupted after `seconds`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mutmut", *words], cwd=TREE, stdout=None if seconds else subprocess.PIPE, text=True
    )
    try:
        return process.communicate(timeout=seconds)[0] or ""
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        return process.communicate()[0] or ""


def report(results: str) -> None:
    """A line for each module, then the change of each mutant that survived."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    survivors = []
    for name, verdict in re.findall(r"^    (\S+): (.+)$", results, re.MULTILINE):
        counts[re.sub(r"\.x[_ǁ].*", "", name)][verdict] += 1
        survivors += [name] if verdict == "survived" else []
    for module, verdicts in sorted(counts.items()):
        print(f"{module:24}", ", ".join(f"{verdict} {count}" for verdict, count in sorted(verdicts.items())))
    for name in survivors:
        print(mutmut("show", name))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", help="files to change, such as proxy/batcher.py [all of both folders]")
    parser.add_argument("--tests", nargs="+", default=["tests/unit"], help="tests that may notice [tests/unit]")
    parser.add_argument("--minutes", type=float, default=60, help="time after which it stops [60]")
    args = parser.parse_args()
    copy_tree(TREE)
    configure(TREE, args.only, args.tests)
    mutmut("run", seconds=60 * args.minutes)
    report(mutmut("results", "--all", "true"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
