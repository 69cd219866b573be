"""TorchServe's temporary folder: one where its workers' unix sockets work and Netty can load its native library.

TMPDIR where it will do -> else /tmp, /var/tmp, /dev/shm, RUN_DIR -> a folder of our own in it
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from proxy.settings import BadSetting, Settings

LONGEST = 107  # bytes of a unix socket's path (sun_path has 108, the last one is zero)
OURS = "/mnist-12345678"  # the folder that we make
SOCKET = "/.ts.sock.99999"  # the longest name that TorchServe gives a socket in it


class Fitness(Enum):
    """What a folder is good for."""

    GOOD = "unix sockets and native libraries work"
    NOEXEC = "mounted noexec: Netty cannot load its native library, TorchServe uses TCP ports instead of unix sockets"
    TOO_LONG = "its path is too long for unix sockets"
    READ_ONLY = "nothing can be written there"


def fitness(folder: Path, below: str = OURS + SOCKET) -> Fitness:
    """What `folder` is good for where the sockets' paths have `below` in addition."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return Fitness.READ_ONLY
    if len(os.fsencode(folder)) + len(below) > LONGEST:
        return Fitness.TOO_LONG
    return Fitness.NOEXEC if os.statvfs(folder).f_flag & os.ST_NOEXEC else Fitness.GOOD


def choose(settings: Settings) -> tuple[Path, Fitness]:
    """The first folder that is good, else the first that can be used at all.

    Raises:
        BadSetting: there is none.
    """
    wanted = Path(os.environ.get("TMPDIR") or "/tmp").absolute()  # noqa: S108
    folders = [wanted, *map(Path, ("/tmp", "/var/tmp", "/dev/shm")), settings.home]  # noqa: S108
    found = {folder: fitness(folder) for folder in folders}
    for usable in (Fitness.GOOD, Fitness.NOEXEC):
        for folder, good_for in found.items():
            if good_for is usable:
                return folder, good_for
    raise BadSetting(f"TMPDIR={str(wanted)!r}: {found[wanted].value}; name a short folder that can be written to")


@contextmanager
def temporary_folder(settings: Settings) -> Iterator[Path]:
    """A folder for TorchServe's temporary files that goes with the block."""
    parent, good_for = choose(settings)
    if good_for is not Fitness.GOOD:
        warn(parent, good_for)
    with tempfile.TemporaryDirectory(prefix="mnist-", dir=parent, ignore_cleanup_errors=True) as name:
        held = os.open(name, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_SH)  # systemd's cleaning of old files leaves a locked folder alone (tmpfiles.d(5))
        try:
            yield Path(name)
        finally:
            os.close(held)


def warn(folder: Path, good_for: Fitness) -> None:
    """Say in one line what does not work there."""
    line = f"warning: {folder} is {good_for.value} (9000 and up); mount it with `exec`, or set TMPDIR\n"
    os.write(2, line.encode())
