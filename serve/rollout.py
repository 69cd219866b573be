"""`python -m serve.rollout`: the running service changes to the archive in the model store without losing a request.

a standby TorchServe starts with the new archive on spare ports and proves itself -> the proxy sends new batches there
-> the supervisor restarts its own TorchServe with the new archive -> once that has proved itself the proxy returns
"""

import argparse
import fcntl
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic, sleep

from proxy.settings import BadSetting, Settings, from_environment
from proxy.torchserve import STANDBY
from serve import ports
from serve.archive import BrokenArchive, copy, verified_version
from serve.logs import failure
from serve.process import ManagedProcess
from serve.supervisor import END, RESTART
from serve.temporary import temporary_folder
from serve.torchserve_command import ROOT, command, environment

PATIENCE = 120  # seconds for a TorchServe to start and prove itself
IMAGE = ROOT / "samples/7.png"


class RolloutError(Exception):
    """The service goes on as it was; the message says why."""


def main() -> None:
    """Roll out, or say in one line why not."""
    parser = argparse.ArgumentParser(
        prog="python -m serve.rollout",
        description="Change the running service to the archive in the model store without losing a request.",
        epilog="Settings come from the environment and must be those that the service runs with.",
    )
    parser.add_argument("--back", action="store_true", help="return to the archive before the last rollout")
    back = parser.parse_args().back
    for number in END:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.default_int_handler)
    try:
        settings = from_environment()
        archive = (settings.home / "rollout/previous" if back else settings.model_store) / "mnist.mar"
        with locked(settings.home), temporary_folder(settings) as temp:
            roll_out(running(settings), archive, temp)
    except (BadSetting, BrokenArchive, RolloutError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit("error: interrupted; the service goes on as it was") from None


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """The right to change what runs in this folder. Raises RolloutError where nothing runs or another rollout does."""
    try:
        with (home / "rollout/pid").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except FileNotFoundError:
        raise RolloutError(f"nothing runs in {home}; give the settings that the service runs with") from None
    except BlockingIOError:
        raise RolloutError("another rollout is under way") from None


def running(settings: Settings) -> Settings:
    """The settings with the ports and the key file of the service that runs."""
    return ports.read(settings).model_copy(update={"ts_key_file": settings.home / "key_file.json"})


def roll_out(settings: Settings, archive: Path, temp: Path) -> None:
    """Change to `archive`. Raises RolloutError, and then what was served is served."""
    started, logs = monotonic(), settings.home / "logs/rollout"
    new = copy(archive, temp / "served")
    old_version, new_version = verified_version(settings.home / "rollout/served/mnist.mar"), verified_version(new)
    if ask(settings, "/readyz") is None:
        raise RolloutError("the service is not ready")
    print(f"version {new_version} starts beside version {old_version}", flush=True)
    logs.mkdir(exist_ok=True)
    with ports.spare(settings.model_copy(update={"ts_key_file": temp / "key_file.json"})) as spare:
        standby = ManagedProcess(
            "the new version",
            partial(command, new, temp),
            cwd=temp,
            environment=environment(spare, logs, temp),
            output=logs / "jvm.log",
            batch=True,
        )
        try:
            prove(spare, lambda: standby.keep_running() or failure(logs))
            print(f"version {new_version} works; it answers while TorchServe starts again", flush=True)
            with diverted(settings, spare):
                renew(settings, new)
        finally:
            standby.stop(10)
    print(f"version {new_version} is served ({monotonic() - started:.1f} s); to return: make rollback", flush=True)


def prove(settings: Settings, fault: Callable[[], str | None], not_with: str = "") -> None:
    """Wait until this TorchServe answers a real image with each of the proxy's models.

    Args:
        settings: with its ports and its key file.
        fault: says why it never will.
        not_with: the text of the key file that a new start replaces.

    Raises:
        RolloutError: for what `fault` says, or where it takes too long.
    """
    started = monotonic()
    while monotonic() - started < PATIENCE:
        if cause := fault():
            raise RolloutError(cause)
        with suppress(OSError, ValueError, KeyError):
            keys = settings.ts_key_file.read_text()
            if keys != not_with and answers(settings, json.loads(keys)["inference"]["key"]):
                return
        sleep(0.1)
    raise RolloutError(f"TorchServe was not ready after {PATIENCE} s")


def answers(settings: Settings, key: str) -> bool:
    """Whether this TorchServe answers a real image with each of the proxy's models."""
    inference = settings.model_copy(update={"host": "127.0.0.1", "port": settings.ts_inference_port})
    paths = [f"/predictions/{model}" for model in (settings.ts_small_model, settings.ts_large_model)]
    return all(ask(inference, path, IMAGE.read_bytes(), {"Authorization": f"Bearer {key}"}) for path in paths)


@contextmanager
def diverted(settings: Settings, spare: Settings) -> Iterator[None]:
    """Send new batches to the spare ports meanwhile. Signals are ignored from here on: halfway is no place to stop."""
    for number in END:
        signal.signal(number, signal.SIG_IGN)
    standby, written = settings.home / STANDBY, settings.home / "rollout" / STANDBY
    where = {"port": spare.ts_inference_port, "key_file": str(spare.ts_key_file), "pid": os.getpid()}
    written.write_text(json.dumps(where))
    written.rename(standby)  # so that the proxy never reads half of it
    try:
        await_batches_to(spare.ts_inference_port, settings)
        yield
    finally:
        standby.unlink()
        await_batches_to(settings.ts_inference_port, settings)


def await_batches_to(port: int, settings: Settings) -> None:
    """Wait until the proxy sends its batches to that port, and until those in flight elsewhere are over."""
    started = monotonic()
    while monotonic() - started < PATIENCE:
        if (text := ask(settings, "/metrics")) and re.search(rf"^mnist_torchserve_port {port}\.0$", text, re.MULTILINE):
            sleep(settings.deadline_seconds)  # none lasts longer
            return
        sleep(0.1)
    raise RolloutError("the proxy does not follow")


def renew(settings: Settings, new: Path) -> None:
    """Restart the supervisor's TorchServe with the new archive; where that does not work, with the one it had."""
    served, other, previous = (settings.home / "rollout" / name for name in ("served", "other", "previous"))
    shutil.rmtree(other, ignore_errors=True)  # of a rollout that has failed
    copy(new, other)
    try:
        restart(settings, served, other)
    except RolloutError:
        restart(settings, served, other)
        raise
    shutil.rmtree(previous, ignore_errors=True)
    other.rename(previous)


def restart(settings: Settings, served: Path, other: Path) -> None:
    """Exchange the two archives, restart TorchServe and wait for its proof."""
    before = settings.ts_key_file.read_text()
    aside = served.rename(served.with_name("aside"))
    other.rename(served)
    aside.rename(other)
    os.kill(int((settings.home / "rollout/pid").read_text()), RESTART)
    prove(settings, lambda: None, not_with=before)


def ask(settings: Settings, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> str | None:
    """What is answered with 200 by who listens there; None where nobody does or it is another status."""
    connection = HTTPConnection(settings.own_host, settings.port, timeout=10)
    with suppress(OSError, HTTPException), closing(connection):
        connection.request("POST" if body else "GET", path, body, headers or {})
        response = connection.getresponse()
        text = response.read().decode()
        return text if response.status == 200 else None
    return None


if __name__ == "__main__":
    main()
