"""A process and all that it starts: begun again when it dies, later each time, and ended without leaving anybody behind."""

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic

_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else lambda *_: 0
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


class Child:
    """Leader of a session of its own, so that Ctrl-C reaches only the supervisor. Its output is appended to `log`."""

    def __init__(self, name: str, command: list[str | Path], cwd: Path, env: dict[str, str], log: Path) -> None:
        self.name, self.command, self.cwd, self.env, self.log = name, command, cwd, env, log
        self.pause, self.started, self.due = 0.0, 0.0, 0.0
        self.process: subprocess.Popen[bytes] | None = None
        _prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans of a dead child become ours to wait for

    def tend(self) -> str | None:
        """Start it when that is due; when it has died, say how, for once."""
        if self.process is None and monotonic() >= self.due:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    self.command, cwd=self.cwd, env=self.env, stdout=log, stderr=log, start_new_session=True,
                    preexec_fn=lambda: _prctl(PR_SET_PDEATHSIG, signal.SIGTERM),  # noqa: PLW1509
                )  # fmt: skip
            self.started = monotonic()
        if self.process is None or (code := self.process.poll()) is None:
            return None
        self.kill()
        self.pause = min(30, 2 * self.pause or 1) if monotonic() - self.started < 60 else 0
        self.due = monotonic() + self.pause
        return f"{self.name} ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}"

    def end(self, seconds: float) -> None:
        """SIGTERM; what still runs after `seconds` is killed."""
        if self.process:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
            self.kill()

    def kill(self) -> None:
        """End the whole group at once and wait until every one of it is gone."""
        group, self.process = self.process, None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group.pid, signal.SIGKILL)
        group.wait()
        with suppress(ChildProcessError):
            while os.waitpid(-group.pid, 0):
                pass
