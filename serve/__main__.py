"""`python -m serve`: TorchServe and the proxy on this machine, until SIGTERM, SIGINT or SIGHUP.

settings -> checks -> free ports -> the folder of this port, emptied -> Supervisor
"""

import argparse
import fcntl
import shutil
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from proxy.settings import BadSetting, Settings, from_environment
from serve import ports
from serve.archive import BrokenArchive
from serve.checks import MissingError, check_installation
from serve.supervisor import END, RESTART, StartError, Supervisor
from serve.temporary import temporary_folder


def main() -> None:
    """Serve; exits with one line where that cannot be."""
    argparse.ArgumentParser(prog="python -m serve", epilog="settings: see python -m proxy --help").parse_args()
    signals = received_signals()
    try:
        check_installation()
        with free_ports(from_environment()) as settings, alone(settings):
            with suppress(FileNotFoundError):
                shutil.rmtree(settings.home)
            (settings.home / "logs").mkdir(parents=True)
            with temporary_folder(settings) as temp:
                Supervisor(settings, temp, signals).run()
    except (BadSetting, BrokenArchive, MissingError, StartError, OSError) as error:
        raise SystemExit(f"error: {error}") from error


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """The right to use the folder of this port. Raises StartError where another copy uses it, on another HOST."""
    settings.home.parent.mkdir(parents=True, exist_ok=True)
    with settings.home.with_suffix(".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"another copy of the service uses {settings.home}; set RUN_DIR or PORT") from None
        yield


def received_signals() -> deque[int]:
    """The signals that concern the supervisor, in order; they are queued from now on.

    A SIGHUP that is ignored stays ignored: whoever started the service with `nohup` wants it to outlive the terminal.
    """
    signals: deque[int] = deque()
    for number in (*END, RESTART):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: signals.append(number))
    return signals


@contextmanager
def free_ports(settings: Settings) -> Iterator[Settings]:
    """The settings with TorchServe's ports as they will be; says so where a default has given way."""
    with ports.chosen(settings) as chosen:
        if chosen != settings:
            print(f"TorchServe's usual ports are taken; it listens on {ports.in_words(chosen)}", flush=True)
        yield chosen


if __name__ == "__main__":
    main()
