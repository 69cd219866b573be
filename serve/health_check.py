"""`python -m serve.health_check`, run by the image: exits with 0 while /readyz of this machine's service says 200.

It asks loopback directly: `http_proxy` and its kin in the environment are for other machines.
"""

import sys
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException

from proxy.settings import Settings, from_environment


def readyz(settings: Settings) -> int | None:
    """The status of the proxy's /readyz, None where nobody answers."""
    connection = HTTPConnection(settings.own_host, settings.port, timeout=2)
    with suppress(OSError, HTTPException), closing(connection):
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    return None


def base_url(settings: Settings) -> str:
    """Where this machine reaches the service; an IPv6 address stands in brackets (RFC 3986)."""
    host = f"[{settings.own_host}]" if ":" in settings.own_host else settings.own_host
    return f"http://{host}:{settings.port}"


if __name__ == "__main__":
    sys.exit(readyz(from_environment()) != 200)
