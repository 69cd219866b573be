"""A process and all that it starts: started again when it dies, ended without leaving anybody behind."""

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from time import monotonic
from typing import Any

_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else lambda *_: 0  # called with 1: PR_SET_PDEATHSIG


class Child:
    """Runs what `command()` gives, in a session of its own: Ctrl-C reaches the supervisor alone.

    Args:
        polite: whether it and all it starts let others finish what they are at when work comes for it (SCHED_BATCH).
        options: of Popen.
    """

    def __init__(self, name: str, command: Any, polite: bool = False, **options: Any) -> None:
        self.name, self._command, self._polite, self._options = name, command, polite, options
        self._options |= {"start_new_session": True, "preexec_fn": self._prepare}
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._due = self._pause = 0.0

    def _prepare(self) -> None:
        _prctl(1, signal.SIGTERM)
        if self._polite and sys.platform == "linux":
            with suppress(OSError):  # where a sandbox forbids it
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

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
