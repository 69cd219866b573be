"""`python -m serve.install SECTION`: install the packages of requirements.txt, up to and with a section.

PyPI's torch for Linux is a CUDA build of several gigabytes. Where there is no NVIDIA GPU and nobody has named an index,
PyTorch's own index with its CPU build comes along, if it answers at once.

Needs the standard library alone, since it runs before anything is installed.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from queue import Empty, SimpleQueue
from shutil import which
from threading import Thread
from urllib.request import urlopen

REQUIREMENTS = Path(__file__).parent.parent / "requirements.txt"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PATIENCE = 4  # seconds that PyTorch's index may take to answer
CHOICES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX")  # the user has chosen an index


class Section(StrEnum):
    """The sections of requirements.txt, in order; each comes with those before it."""

    SERVING = "serving"
    CLIENT = "client"
    TRAINING = "training"
    TESTS = "tests"
    MUTANTS = "mutants"


# Sizes in GB with torch's CPU build: the wheels of all packages, and the environment with them (Python 3.11, x86-64).
SIZES = {
    Section.SERVING: (0.4, 1.4),
    Section.CLIENT: (0.4, 1.4),
    Section.TRAINING: (0.5, 1.9),
    Section.TESTS: (0.6, 2.4),
    Section.MUTANTS: (0.6, 2.5),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m serve.install", description="Install pinned packages.")
    parser.add_argument("section", type=Section, choices=list(Section))
    parser.add_argument("--cpu-index", default=CPU_INDEX, metavar="URL", help="has torch's CPU build [%(default)s]")
    options = parser.parse_args()
    index = cpu_index(options.cpu_index)
    print(announcement(options.section, index), flush=True)
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *quiet, *index_options(index)]
    raise SystemExit(subprocess.call([*command, *pins(options.section)]))  # noqa: S603


def up_to(last: Section) -> list[Section]:
    """The sections up to and with `last`."""
    return list(Section)[: list(Section).index(last) + 1]


def pins(last: Section, requirements: Path = REQUIREMENTS) -> list[str]:
    """The pins (`name==version`) of the sections up to and with `last`."""
    found: dict[str, list[str]] = {section: [] for section in Section}
    section: str = Section.SERVING
    for line in requirements.read_text().splitlines():
        if heading := re.match(r"# (\w+)", line):
            section = heading[1] if heading[1] in found else section
        elif pin := line.partition("#")[0].strip():
            found[section].append(pin)
    return [pin for name in up_to(last) for pin in found[name]]


def cpu_index(url: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """`url` where the CPU build of torch shall come from there, else None."""
    if sys.platform != "linux" or has_nvidia_gpu() or any(name in environment for name in CHOICES):
        return None
    return url if answers(url) else None


def has_nvidia_gpu() -> bool:
    """Whether NVIDIA's driver is here."""
    return Path("/proc/driver/nvidia/version").exists() or which("nvidia-smi") is not None


def answers(url: str) -> bool:
    """Whether an index has torch and says so within seconds, whatever hangs: its name, its connection or its answer."""
    answer: SimpleQueue[bool] = SimpleQueue()

    def ask() -> None:
        with suppress(OSError), urlopen(f"{url}/torch/", timeout=PATIENCE) as response:  # noqa: S310
            answer.put(response.status == 200)
            return
        answer.put(False)

    Thread(target=ask, daemon=True).start()
    try:
        return answer.get(timeout=PATIENCE)
    except Empty:
        return False


def index_options(index: str | None) -> list[str]:
    """What pip is told about it."""
    return ["--extra-index-url", index] if index else []


def announcement(section: Section, index: str | None) -> str:
    """One line: what is fetched, from where, how much."""
    fetched, taken = SIZES[section]
    what = f"installing the packages for {', '.join(up_to(section))} into {sys.prefix}, once"
    size = f"about {fetched} GB to download and {taken} GB on disk, less what is there"
    if index:
        return f"{what}: {size}; with torch's CPU build from {index}"
    return f"{what}: {size}; several GB more where pip finds only a CUDA build of torch"


if __name__ == "__main__":
    main()
