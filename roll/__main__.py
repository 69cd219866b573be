"""`python -m roll`: the running service changes to the archive in the model store without losing a request.

a stand-in serves the new archive on spare ports and proves it -> the proxy sends its trips there
-> the supervisor's TorchServe starts again with the new archive and proves it -> the proxy returns, the stand-in ends
"""

import argparse
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic, sleep

from proxy.settings import BadSetting, Settings, from_environment
from proxy.torchserve import STANDBY as STAND_IN
from serve.child import Child
from serve.torchserve import ROOT, command, environment, failure
from train.archive import BrokenArchive, copy, verified_version

PATIENCE = 120  # seconds for a TorchServe to start and prove itself
PICTURE = ROOT / "samples/7.png"


class RollError(Exception):
    """The service goes on as it was; the message says why."""


def main() -> None:
    """Roll, or say in one line why not."""
    about = "Settings come from the environment and must be those that the service runs with."
    parser = argparse.ArgumentParser(prog="python -m roll", description=__doc__.partition(":")[2], epilog=about)
    parser.add_argument(
        "--back", action="store_true", help="change to the archive that was served before the last roll"
    )
    back = parser.parse_args().back
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        settings = from_environment()
        settings = replace(settings, ts_key_file=settings.home / "key_file.json")
        archive = (settings.home / "roll/previous" if back else settings.model_store) / "mnist.mar"
        with locked(settings.home), tempfile.TemporaryDirectory(prefix="mnist-", ignore_cleanup_errors=True) as temp:
            roll(settings, archive, Path(temp))
    except (BadSetting, BrokenArchive, RollError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit("error: interrupted; the service goes on as it was") from None


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """The right to roll what runs in this folder. Raises RollError where nothing runs or somebody else rolls."""
    try:
        with (home / "roll/pid").open() as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except FileNotFoundError:
        raise RollError(f"nothing runs in {home}; give the settings that the service runs with") from None
    except BlockingIOError:
        raise RollError("another roll is under way") from None


def roll(settings: Settings, archive: Path, temp: Path) -> None:
    """Change to `archive`. Raises RollError, and then what was served is served."""
    begun, logs = monotonic(), settings.home / "logs/roll"
    new = copy(archive, temp / "served")
    was, will_be = verified_version(settings.home / "roll/served/mnist.mar"), verified_version(new)
    if ask(settings, "/readyz") is None:
        raise RollError("the service is not ready")
    print(f"version {will_be} starts beside version {was}", flush=True)
    logs.mkdir(exist_ok=True)
    spare = spare_ports(replace(settings, ts_key_file=temp / "key_file.json"))
    with (logs / "jvm.log").open("ab") as log:
        start, variables = partial(command, new, temp), environment(spare, logs, temp)
        stand_in = Child("the new version", start, True, cwd=temp, env=variables, stdout=log, stderr=log)
        try:
            prove(spare, lambda: stand_in.tend() or failure(logs))
            print(f"version {will_be} works; it answers while TorchServe starts again", flush=True)
            with diverted(settings, spare):
                renew(settings, new)
        finally:
            stand_in.end(10)
    print(f"version {will_be} is served ({monotonic() - begun:.1f} s); back: python -m roll --back", flush=True)


def prove(settings: Settings, fault: Callable[[], str | None], not_with: str = "") -> None:
    """Wait until this TorchServe answers a real picture, with either model; with another token file than `not_with`.

    Raises RollError for what `fault` says, or where it takes too long.
    """
    begun = monotonic()
    while monotonic() - begun < PATIENCE:
        if cause := fault():
            raise RollError(cause)
        with suppress(OSError, ValueError):
            keys = settings.ts_key_file.read_text()
            headers = {"Authorization": f"Bearer {json.loads(keys)['inference']['key']}"}
            inference = replace(settings, host="127.0.0.1", port=settings.ts_inference_port)
            models = (settings.ts_small_model, settings.ts_large_model)
            if keys != not_with and all(
                ask(inference, f"/predictions/{m}", PICTURE.read_bytes(), headers) for m in models
            ):
                return
        sleep(0.1)
    raise RollError(f"TorchServe was not ready after {PATIENCE} s")


@contextmanager
def diverted(settings: Settings, spare: Settings) -> Iterator[None]:
    """Send trips to the spare ports meanwhile. Signals are ignored from here on: halfway is no place to stop."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    told, told_whole = settings.home / STAND_IN, settings.home / "roll" / STAND_IN
    where = {"port": spare.ts_inference_port, "key_file": str(spare.ts_key_file), "pid": os.getpid()}
    told_whole.write_text(json.dumps(where))
    told_whole.rename(told)
    try:
        await_trips_to(spare.ts_inference_port, settings)
        yield
    finally:
        told.unlink()
        await_trips_to(settings.ts_inference_port, settings)


def await_trips_to(port: int, settings: Settings) -> None:
    """Wait until the proxy sends its trips to that port, and until those that went elsewhere are over."""
    begun = monotonic()
    while monotonic() - begun < PATIENCE:
        if (text := ask(settings, "/metrics")) and re.search(rf"^mnist_torchserve_port {port}\.0$", text, re.MULTILINE):
            sleep(settings.deadline_seconds)  # none lasts longer
            return
        sleep(0.1)
    raise RollError("the proxy does not follow")


def renew(settings: Settings, new: Path) -> None:
    """Start the supervisor's TorchServe again, with the new archive; where that does not work, with the one it had."""
    served, previous = settings.home / "roll/served", settings.home / "roll/previous"
    shutil.rmtree(previous, ignore_errors=True)
    copy(new, previous)
    try:
        restart(settings, served, previous)
    except RollError:
        restart(settings, served, previous)
        raise


def restart(settings: Settings, served: Path, previous: Path) -> None:
    """Exchange the two archives, start TorchServe again and wait for its proof."""
    before = settings.ts_key_file.read_text()
    aside = served.rename(served.with_name("aside"))
    previous.rename(served)
    aside.rename(previous)
    os.kill(int((settings.home / "roll/pid").read_text()), signal.SIGUSR1)
    prove(settings, lambda: None, not_with=before)


def spare_ports(settings: Settings) -> Settings:
    """The settings with three ports for TorchServe that are free."""
    names = ("ts_inference_port", "ts_management_port", "ts_metrics_port")
    held = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = {name: server.getsockname()[1] for name, server in zip(names, held, strict=True)}
    for server in held:
        server.close()
    return replace(settings, **ports)


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
