"""A process and all that it starts: started again when it dies, ended without leaving anybody behind."""

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from time import monotonic
from typing import Any

_libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None  # prctl is called with 1: PR_SET_PDEATHSIG


class Child:
    """Runs what `command()` gives, in a session of its own: Ctrl-C reaches the supervisor alone. `options`: Popen's;
    polite: neither it nor what it starts interrupts others when work comes (SCHED_BATCH; docs/architecture.md)."""

    def __init__(self, name: str, command: Any, polite: bool = False, **options: Any) -> None:
        self.name, self._command, self._options = name, command, options | {"start_new_session": True}
        self._options["preexec_fn"] = lambda: (  # where a sandbox forbids it, nothing happens
            _libc and (_libc.prctl(1, signal.SIGTERM), polite and _libc.sched_setscheduler(0, os.SCHED_BATCH, bytes(4)))
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._due = self._pause = 0.0

    def tend(self) -> str | None:
        """Start it where it does not run, later each time where it dies young; say how it ended, once, where it has."""
        if not self._process and monotonic() >= self._due:
            self._process, self._started = subprocess.Popen(self._command(), **self._options), monotonic()  # noqa: S603
        if not self._process or (code := self._process.poll()) is None:
            return None
        self.end()
        self._pause = min(30, 2 * self._pause or 1) if monotonic() - self._started < 60 else 0
        self._due = monotonic() + self._pause
        return f"{self.name} ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}"

    def end(self, seconds: float = 0) -> None:
        """SIGTERM; what is left of it after `seconds` is killed."""
        if leader := self._process:
            self._process = None
            leader.terminate()
            with suppress(subprocess.TimeoutExpired):
                leader.wait(seconds)
            with suppress(ProcessLookupError, PermissionError):  # nobody is left
                os.killpg(leader.pid, signal.SIGKILL)
            leader.wait()
