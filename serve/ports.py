"""Which ports TorchServe gets: those that are set; a default that is taken gives way to the next free port.

settings -> PORT and the ports that are set must be free -> the other defaults, or 8083 and up -> ports.json

TorchServe listens a second after its ports are chosen. Until then a claim keeps other copies of the service off them.
"""

import json
import os
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from proxy.settings import BadSetting, Settings
from serve.listening import listen

NAMES = ("inference", "management", "metrics")
SPARE = range(8083, 65536)  # where to look for a free port: from the last default on
FILE = "ports.json"  # {"proxy": 3001, "inference": 8080, "management": 8081, "metrics": 8082}


@contextmanager
def chosen(settings: Settings, environment: Mapping[str, str] = os.environ) -> Iterator[Settings]:
    """The settings with ports that can be listened on, all of them at one time, claimed as long as the block lasts.

    Raises:
        BadSetting: a port that was set is taken, or named by two settings.
    """
    found: dict[str, Any] = {}
    with ExitStack() as claims:
        with ExitStack() as sockets:
            for each in listen(settings.host, settings.port):
                sockets.enter_context(each)
            fields = [f"ts_{name}_port" for name in NAMES]
            for field in sorted(fields, key=lambda field: field.upper() not in environment):  # those that are set first
                port: int = getattr(settings, field)
                candidates = [port] if field.upper() in environment else [port, *SPARE]
                found[field] = _bind(field.upper(), candidates, sockets, claims)
        yield settings.model_copy(update=found)


@contextmanager
def spare(settings: Settings) -> Iterator[Settings]:
    """The settings with three other ports for TorchServe, all free, and claimed as long as the block lasts."""
    with ExitStack() as claims:
        with ExitStack() as sockets:
            found = {name: _bind(name, SPARE, sockets, claims) for name in NAMES}
        yield _with_ports(settings, found)


def _bind(name: str, candidates: Iterable[int], sockets: ExitStack, claims: ExitStack) -> int:
    """The first of the ports that is free on loopback and claimed by no other copy; it is ours until both close."""
    failure = None
    for port in candidates:
        try:
            sockets.enter_context(socket.create_server(("127.0.0.1", port)))
            _claim(port, claims)
        except OSError as error:
            failure = failure or f"{name}: cannot listen on 127.0.0.1:{port}: {os.strerror(error.errno or 0)}"
        else:
            return port
    raise BadSetting(failure)


def _claim(port: int, claims: ExitStack) -> None:
    """Bind an abstract name (unix(7)): it needs no file and goes with this process. Raises OSError if it is taken."""
    claim = claims.enter_context(socket.socket(socket.AF_UNIX))
    if sys.platform == "linux":  # others have no such names
        claim.bind(f"\0mnist-port-{port}")


def in_words(settings: Settings) -> str:
    """The three ports as people read them."""
    return ", ".join(f"{name} {getattr(settings, f'ts_{name}_port')}" for name in NAMES)


def write(settings: Settings) -> Path:
    """Record the ports in the folder of this service; return the file."""
    ports = {"proxy": settings.port} | {name: getattr(settings, f"ts_{name}_port") for name in NAMES}
    file = settings.home / FILE
    file.write_text(json.dumps(ports) + "\n")
    return file


def read(settings: Settings) -> Settings:
    """The settings with the ports that the running service has recorded. Raises OSError, ValueError, KeyError."""
    ports = json.loads((settings.home / FILE).read_text())
    return _with_ports(settings, ports)


def _with_ports(settings: Settings, ports: Mapping[str, Any]) -> Settings:
    return settings.model_copy(update={f"ts_{name}_port": ports[name] for name in NAMES})
