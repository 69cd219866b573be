"""HTTP by Granian: one server for each listening socket, and a shutdown that resets no client.

Granian's embedded server shares this process's event loop. Its regular runner (a parent and worker processes) stops as
soon as it is told to, which resets clients; here the service drains first.
"""

import asyncio
import ctypes
import logging
import resource
import socket
import struct
from collections.abc import Sequence
from time import monotonic

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.embed import Server

from proxy.app import App
from proxy.health import Health, State
from proxy.listening import BACKLOG
from proxy.settings import Settings

log = logging.getLogger(__name__)
SPARE_DESCRIPTORS = 256  # for everything but clients' connections
CLOSE_PAUSE = 0.5  # seconds in which a request that was on its way is still answered, once nothing new is accepted
SO_ATTACH_FILTER = 26  # Linux


def granian(app: App, settings: Settings, listener: socket.socket) -> Server:
    """The HTTP server for one listening socket."""
    server = Server(
        app,
        interface=Interfaces.RSGI,
        http=HTTPModes.auto,  # HTTP/1.1, and HTTP/2 with prior knowledge
        websockets=False,
        backlog=BACKLOG,
        backpressure=connection_limit(settings.max_connections),
        http1_settings=HTTP1Settings(header_read_timeout=settings.keep_alive_seconds * 1000),
        log_enabled=False,
        log_dictconfig={"incremental": True, "handlers": {}},  # else it closes every logging handler of the process
    )
    # Granian would open a socket of its own, which two programs can share unnoticed (SO_REUSEPORT).
    holder = SocketHolder(listener.fileno(), False, BACKLOG)  # type: ignore[call-arg]
    server._init_shared_socket = lambda: setattr(server, "_shd", holder)  # type: ignore[method-assign]
    return server


def connection_limit(wanted: int) -> int:
    """As many of `wanted` connections as the limit on open files allows, which is raised to what it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(soft, wanted + SPARE_DESCRIPTORS) if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(1, min(wanted, most - SPARE_DESCRIPTORS))


async def drain(settings: Settings, app: App, health: Health, listeners: Sequence[socket.socket]) -> None:
    """Say not ready, refuse uploads, finish what is in flight, then accept nothing new and pause."""
    health.shutdown = State.DRAINING
    await asyncio.sleep(settings.drain_seconds)
    health.shutdown, app.closing = State.CLOSING, True
    end = monotonic() + settings.grace_seconds
    await asyncio.sleep(CLOSE_PAUSE / 2)  # clients in a closed loop are told to close
    while app.in_flight and monotonic() < end:
        await asyncio.sleep(0.02)
    if app.in_flight:
        log.warning("%d requests were still in flight when GRACE_SECONDS were over", len(app.in_flight))
    for listener in listeners:
        accept_nothing(listener)
    await asyncio.sleep(CLOSE_PAUSE)


def accept_nothing(listener: socket.socket) -> None:
    """Let the kernel drop connection requests, with a packet filter that lets nothing pass (socket(7)).

    Closing the socket instead would reset connections that a client has just opened. Granian accepts what is already
    there; whoever comes later tries again a second later and finds the port closed.
    """
    pass_nothing = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # one instruction: return 0 bytes
    program = struct.pack("HP", 1, ctypes.addressof(pass_nothing))
    listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
