"""asyncio.timeout for the way of every upload, where its own would be a tenth of the proxy's work.

It asks three times which loop runs, and before Python 3.12 each answer is a system call (docs/performance.md).
"""

import asyncio
from types import TracebackType


class within:
    """A block that may take `seconds`; then what it awaits is cancelled and TimeoutError is raised.

    Args:
        seconds: may be zero or negative: the block ends at its first wait.
    """

    __slots__ = ("_cancelling", "_expired", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds, self._expired = seconds, False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a time limit needs a task")
        self._task, self._cancelling = task, task.cancelling()
        self._timer = loop.call_later(max(self._seconds, 0), self._expire)

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        # Cancelled from outside as well, it stays cancelled.
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
