"""Runs TorchServe and the proxy on one machine, in the folder of this port.

both start -> RUNNING once /readyz says 200 -> what ends or hangs is started again
-> a signal: the proxy drains and ends, then TorchServe ends
"""

import os
import select
import shutil
import signal
import sys
from collections import deque
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from pathlib import Path
from time import monotonic, sleep

from proxy.settings import Settings
from serve import logs as torchserve_logs
from serve import ports, torchserve_command
from serve.archive import copy
from serve.health_check import base_url, readyz
from serve.process import ManagedProcess

PATIENCE = 120  # seconds without a ready service: at first the start has failed, later something hangs
PROXY_END = 6  # seconds that the proxy may take to end beside DRAIN_SECONDS and GRACE_SECONDS
RESTART = signal.SIGUSR1  # asks for a restart of TorchServe, with the archive that then lies in the rollout's folder
END = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StartError(Exception):
    """The service cannot start; the message says why."""


class State(Enum):
    """Before and after /readyz has said 200 for the first time. A process that ends while STARTING ends the start."""

    STARTING = auto()
    RUNNING = auto()


class Supervisor:
    """TorchServe and the proxy, both kept running until a signal of END.

    Args:
        settings: with the ports that TorchServe gets.
        temp: TorchServe's temporary folder.
        signals: the numbers of the signals received, those to come too.
    """

    def __init__(self, settings: Settings, temp: Path, signals: deque[int]) -> None:
        self._settings, self._signals = settings, signals
        self._state, self._started = State.STARTING, monotonic()
        self._logs, self._key_file = settings.home / "logs", settings.home / "key_file.json"
        archive = copy(settings.model_store / "mnist.mar", settings.home / "rollout/served")
        self._torchserve = ManagedProcess(
            "TorchServe",
            partial(torchserve_command.command, archive, temp),
            cwd=settings.home,
            environment=torchserve_command.environment(settings, self._logs, temp),
            output=self._logs / "jvm.log",
            batch=True,
        )
        self._proxy = ManagedProcess(
            "proxy",
            [sys.executable, "-m", "proxy"].copy,
            cwd=torchserve_command.ROOT,
            environment=os.environ
            | {"TS_KEY_FILE": str(self._key_file), "TS_INFERENCE_PORT": str(settings.ts_inference_port)},
        )

    def run(self) -> None:
        """Keep both running until a signal ends it. Raises StartError where the service does not get ready once."""
        (self._settings.home / "rollout/pid").write_text(str(os.getpid()))
        files = [self._key_file, ports.write(self._settings)]
        try:
            self._watch()
        finally:
            self._proxy.stop(self._settings.drain_seconds + self._settings.grace_seconds + PROXY_END)
            self._torchserve.stop(10)
            for file in files:
                file.unlink(missing_ok=True)
            shutil.rmtree(self._settings.home / "rollout")

    def _watch(self) -> None:
        ready_at = monotonic()  # when /readyz last said 200
        while (request := self._signals.popleft() if self._signals else None) in (None, RESTART):
            if request == RESTART:
                self._torchserve.stop(10)
            ended = [cause for process in (self._torchserve, self._proxy) if (cause := process.keep_running())]
            status = readyz(self._settings)
            if status == 200:
                ready_at = monotonic()
            elif monotonic() - ready_at > PATIENCE:
                ended.append(self._stop_what_hangs(status))
                ready_at = monotonic()
            self._report(ended, status)
            self._pause()

    def _stop_what_hangs(self, status: int | None) -> str:
        """A proxy that answers is waiting for TorchServe; one that does not hangs itself."""
        hanging = self._proxy if status is None else self._torchserve
        hanging.stop()
        return f"not ready for {PATIENCE} s, {hanging.name} ended"

    def _report(self, ended: list[str], status: int | None) -> None:
        """Say what has happened. Raises StartError for what ends a start."""
        if self._state is State.STARTING:
            self._check_start(ended)
            if status == 200:
                self._state = State.RUNNING
                url = f"{base_url(self._settings)}/api/mnist"
                took = monotonic() - self._started
                _say(1, f"ready in {took:.1f} s, try: curl -X POST -F image=@samples/7.png {url}")
        elif ended:
            _say(2, f"{'; '.join(ended)}; starting it again")

    def _check_start(self, ended: list[str]) -> None:
        cause = "; ".join(ended) or torchserve_logs.failure(self._logs)
        if cause:
            details = torchserve_logs.complaint(self._logs) if self._torchserve.name in cause else None
            raise StartError(f"cannot start: {cause}{f': {details}' if details else ''}; see {self._logs}")

    def _pause(self) -> None:
        """A second, or less where a signal comes; while starting, a twentieth of it."""
        for _ in range(1 if self._state is State.STARTING else 20):
            if not self._signals:
                sleep(0.05)


def _say(descriptor: int, line: str) -> None:
    with suppress(OSError):  # a full disk or a reader that has gone ends no service
        if select.select([], [descriptor], [], 0)[1]:  # nor does one that has stopped reading hold it up
            os.write(descriptor, f"{line}\n".encode())
