"""`python -m deploy.run_torchserve`: TorchServe alone, for where a container runtime supervises it.

archive verified -> folder in RUN_DIR emptied -> exec: SIGTERM reaches the JVM itself, and its end is the container's

Its logs go to standard output, so they outlast the container.
"""

import argparse
import os
import shutil
from pathlib import Path

from proxy.settings import BadSetting, from_environment
from serve.archive import BrokenArchive
from serve.temporary import SOCKET, Fitness, fitness, warn
from serve.torchserve_command import command, environment

CONSOLE = {"SERVER_LOG": "console", "WORKER_LOG": "console"}  # serve/log4j2.xml


def main() -> None:
    """Become TorchServe; exits with one line where that cannot be."""
    about = "Become TorchServe. Its settings are among those that python -m proxy --help lists."
    argparse.ArgumentParser(prog="python -m deploy.run_torchserve", description=about).parse_args()
    try:
        settings = from_environment()
        store, home = settings.model_store.absolute(), settings.home
        logs, temp = home / "logs", home / "temp"
        shutil.rmtree(home, ignore_errors=True)  # of the container that ended before this one
        logs.mkdir(parents=True)
        temp.mkdir()
        check(temp)
        start = [*map(str, command(store / "mnist.mar", temp))]
        os.chdir(home)  # where TorchServe writes its tokens: TS_KEY_FILE of the proxy names that file
        os.execve(start[0], start, environment(settings, logs, temp) | CONSOLE)  # noqa: S606
    except (BadSetting, BrokenArchive, OSError) as error:
        raise SystemExit(f"error: {error}") from error


def check(temp: Path) -> None:
    """Say in one line where the workers' unix sockets do not work. Raises BadSetting where nothing would."""
    good_for = fitness(temp, SOCKET)
    if good_for is Fitness.NOEXEC:
        warn(temp, good_for)
    elif good_for is not Fitness.GOOD:
        raise BadSetting(f"RUN_DIR: {temp} is not usable: {good_for.value}")


if __name__ == "__main__":
    main()
