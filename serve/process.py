"""A process and all that it starts: started again when it ends, stopped without leaving anything behind."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from serve.archive import BrokenArchive

PR_SET_PDEATHSIG = 1  # of prctl(2): the signal that a process gets when its parent ends
YOUNG = 60  # seconds; a process that ends sooner is started again later each time
LONGEST_PAUSE = 30  # seconds until it is started again


class ManagedProcess:
    """A process that the supervisor keeps running, in a session of its own: Ctrl-C reaches the supervisor alone.

    Args:
        name: what messages call it.
        command: gives the command line, each time it is started.
        cwd: its working folder.
        environment: its environment variables.
        output: the file that its standard output and error are appended to; None for where the supervisor's go.
        batch: schedule it as SCHED_BATCH, so that it does not preempt others (docs/architecture.md).
    """

    def __init__(
        self,
        name: str,
        command: Callable[[], Sequence[str | Path]],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        output: Path | None = None,
        batch: bool = False,
    ) -> None:
        self.name, self._command, self._output = name, command, output
        self._options: dict[str, Any] = {
            "cwd": cwd,
            "env": environment,
            "start_new_session": True,
            "preexec_fn": partial(_prepare, batch),
        }
        self._process: subprocess.Popen[bytes] | None = None  # None while it does not run
        self._started = self._due = self._pause = 0.0

    def keep_running(self) -> str | None:
        """Start it if it does not run and its pause is over. Returns how it ended or why it did not start, once."""
        if self._process is None:
            return self._start() if monotonic() >= self._due else None
        code = self._process.poll()
        if code is None:
            return None
        self.stop()
        self._wait(monotonic() - self._started)
        return f"{self.name} ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}"

    def _start(self) -> str | None:
        """Start it. Returns why that did not work: a full disk, or no memory for another process."""
        try:
            with self._output.open("ab") if self._output else nullcontext() as file:
                self._process = subprocess.Popen(self._command(), stdout=file, stderr=file, **self._options)  # noqa: S603
        except (OSError, BrokenArchive) as error:
            self._wait(0)
            return f"{self.name} could not be started ({error})"
        self._started = monotonic()
        return None

    def _wait(self, lived: float) -> None:
        """Let it be started again after a pause, which is longer each time it has not lived long."""
        self._pause = min(LONGEST_PAUSE, 2 * self._pause or 1) if lived < YOUNG else 0
        self._due = monotonic() + self._pause

    def stop(self, seconds: float = 0) -> None:
        """Send SIGTERM; kill what is left of it and of its children after `seconds`."""
        leader, self._process = self._process, None
        if leader is None:
            return
        leader.terminate()
        with suppress(subprocess.TimeoutExpired):
            leader.wait(seconds)
        with suppress(ProcessLookupError, PermissionError):  # nobody is left
            os.killpg(leader.pid, signal.SIGKILL)
        leader.wait()


_libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None


def _prepare(batch: bool) -> None:
    """Runs in the child before its program: it ends with its parent. Nothing happens where a sandbox forbids that."""
    if _libc is None:
        return
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if batch:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
