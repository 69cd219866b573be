"""HOST and PORT -> listening sockets; what cannot be had ends the start with the name of the setting at fault.

`localhost` stands for 127.0.0.1 and ::1, each where it exists; `::` for every address of both protocols.
"""

import errno
import os
import socket

from proxy.settings import BadSetting

BACKLOG = 4096  # connections that may wait to be accepted
LOOPBACK = ("127.0.0.1", "::1")
ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # the machine has no such address, or no IPv6 at all


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on every address that `host` stands for.

    Raises:
        BadSetting: the host is not this machine's, or the port is taken or not allowed.
    """
    sockets: list[socket.socket] = []
    missing: list[BadSetting] = []
    for address in LOOPBACK if host == "localhost" else (host,):
        try:
            sockets.append(_listening(address, port))
        except OSError as error:
            bad = BadSetting(_sentence(address, port, error))
            if error.errno not in ABSENT:
                for each in sockets:
                    each.close()
                raise bad from error
            missing.append(bad)
    if not sockets:
        raise missing[0]
    return sockets


def _listening(address: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    except UnicodeError as error:  # two dots in a row, say
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from error
    both = address == "::" and socket.has_dualstack_ipv6()
    return socket.create_server((address, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)


def _sentence(address: str, port: int, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"HOST={address!r}: no address has this name ({error.strerror})"
    reason = os.strerror(error.errno or 0)
    if error.errno in ABSENT:
        return f"HOST={address!r}: not an address of this machine ({reason})"
    return f"PORT: cannot listen on {f'[{address}]' if ':' in address else address}:{port}: {reason}"
