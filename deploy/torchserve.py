"""`python -m deploy.torchserve`: TorchServe alone, for where a container runtime supervises it.

archive verified -> folder in RUN_DIR emptied -> exec: SIGTERM reaches the JVM itself, and its end is the container's
"""

import argparse
import os
import shutil

from proxy.settings import BadSetting, from_environment
from serve.torchserve import command, environment
from train.archive import BrokenArchive


def main() -> None:
    """Become TorchServe; exits with one line where that cannot be."""
    about = "Become TorchServe. Its settings are among those that python -m proxy --help lists."
    argparse.ArgumentParser(prog="python -m deploy.torchserve", description=about).parse_args()
    try:
        settings = from_environment()
        store, home = settings.model_store.absolute(), settings.run_dir.absolute() / str(settings.port)
        logs, temp = home / "logs", home / "temp"
        shutil.rmtree(home, ignore_errors=True)  # of the container that ended before this one
        logs.mkdir(parents=True)
        temp.mkdir()
        start = [*map(str, command(store / "mnist.mar", temp))]
        os.chdir(home)  # where TorchServe writes its tokens: TS_KEY_FILE of the proxy names that file
        os.execve(start[0], start, environment(settings, logs, temp))  # noqa: S606
    except (BadSetting, BrokenArchive, OSError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
