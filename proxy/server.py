"""HTTP by Granian: one server for each listening socket, and a shutdown that resets no client.

Granian's embedded server shares this process's event loop. Its regular runner (a parent and worker processes) stops as
soon as it is told to, which resets clients; here the service drains first.
"""

import asyncio
import logging
import os
import resource
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings, HTTP2Settings
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.embed import Server

from proxy.app import App
from proxy.health import Health, State
from proxy.settings import Settings
from serve.listening import BACKLOG

log = logging.getLogger(__name__)
SPARE_DESCRIPTORS = 256  # for everything but clients' connections
STREAMS = 32  # most requests at a time on one HTTP/2 connection: each takes memory
HEADERS_BYTES = 32 * 1024  # of one such request; Granian would take 16 MiB, which no limit of ours counts
CLOSE_PAUSE = 0.5  # seconds, once nothing new is accepted, in which requests that were on their way are answered
SO_BINDTOIFINDEX = 62  # Linux
NO_INTERFACE = 2**31 - 1  # the largest index, which no interface has
# Linux's struct tcp_info as far as it is read here: state, ms since data was last sent, and since it was received.
TCP_INFO = struct.Struct("B43xI4xI")
TCP_ESTABLISHED = 1
REAP_SECONDS = 15.0  # between two searches for idle connections


def granian(app: App, settings: Settings, listener: socket.socket, listeners: int = 1) -> Server:
    """The HTTP server for one of `listeners` listening sockets, which share the connections that may be open."""
    # Inherited by connections: one whose client takes nothing of a response for so long is closed.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, settings.keep_alive_seconds * 1000)
    server = Server(
        app,
        interface=Interfaces.RSGI,
        http=HTTPModes.auto,  # HTTP/1.1, and HTTP/2 with prior knowledge
        websockets=False,
        backlog=BACKLOG,
        backpressure=max(1, connection_limit(settings.max_connections) // listeners),
        http1_settings=HTTP1Settings(header_read_timeout=settings.keep_alive_seconds * 1000),
        http2_settings=HTTP2Settings(max_concurrent_streams=STREAMS, max_headers_size=HEADERS_BYTES),
        log_enabled=False,
        log_dictconfig={"incremental": True, "handlers": {}},  # else it closes every logging handler of the process
    )
    # Granian would open a socket of its own, which two programs can share unnoticed (SO_REUSEPORT). It closes the
    # descriptor that it is given, so it gets a copy: by then the listener's number may be another file's.
    holder = SocketHolder(os.dup(listener.fileno()), False, BACKLOG)  # type: ignore[call-arg]
    server._init_shared_socket = lambda: setattr(server, "_shd", holder)  # type: ignore[method-assign]
    return server


def connection_limit(wanted: int) -> int:
    """As many of `wanted` connections as the limit on open files allows, which is raised to what it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(soft, wanted + SPARE_DESCRIPTORS) if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(1, min(wanted, most - SPARE_DESCRIPTORS))


async def reap_forever(settings: Settings) -> None:
    """Close idle connections that Granian keeps.

    Its time-out starts once it knows the protocol from the first bytes, and idle HTTP/2 connections have none. Whoever
    opened MAX_CONNECTIONS and sent nothing would keep everybody else out.
    """
    # A connection that is silent for so long has neither a body nor a response on its way.
    idle = settings.keep_alive_seconds + settings.body_idle_seconds + settings.deadline_seconds
    while True:
        await asyncio.sleep(REAP_SECONDS)
        with suppress(OSError, RuntimeError):  # no free descriptor or thread for it
            await asyncio.to_thread(close_idle, settings.port, idle)


def close_idle(port: int, seconds: float) -> None:
    """Close this process's connections to `port` on which nothing was sent or received for so long."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # closed meanwhile
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(name))) as one:
                if one.family not in (socket.AF_INET, socket.AF_INET6) or one.getsockname()[1] != port:
                    continue
                info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO.size)
                state, sent, received = TCP_INFO.unpack(info)
                if state == TCP_ESTABLISHED and min(sent, received) > seconds * 1000:
                    one.shutdown(socket.SHUT_RDWR)


async def drain(settings: Settings, app: App, health: Health, listeners: Sequence[socket.socket]) -> None:
    """Say not ready, refuse uploads, finish what is in flight, then accept nothing new and pause."""
    health.shutdown, app.closing = State.DRAINING, True
    await asyncio.sleep(settings.drain_seconds)
    health.shutdown = State.CLOSING
    end = monotonic() + settings.grace_seconds
    await asyncio.sleep(CLOSE_PAUSE / 2)  # clients in a closed loop are told to close
    while app.in_flight and monotonic() < end:
        await asyncio.sleep(0.02)
    if app.in_flight:
        log.warning("%d requests were still in flight when GRACE_SECONDS were over", len(app.in_flight))
        app.cut_off()
    for listener in listeners:
        accept_nothing(listener)
    await asyncio.sleep(CLOSE_PAUSE)


def accept_nothing(listener: socket.socket) -> None:
    """Refuse connections from now on, and let Granian accept those that are there.

    The listener is bound to a network interface that does not exist, so nothing new finds it (socket(7); without
    privileges since Linux 5.7). Closing Granian's descriptor too would reset connections that a client has just opened.
    """
    with listener, suppress(OSError):  # an older kernel: one of those may be reset
        listener.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, NO_INTERFACE)
