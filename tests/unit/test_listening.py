"""HOST and PORT: which addresses listen, and whose name the sentence has where one cannot be had."""

import os
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from proxy.settings import BadSetting
from serve.listening import listen
from tests.stack import ROOT, free_ports

ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
NETWORK = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c"]
OFF = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"


def reached(host: str) -> set[str]:
    """On which of the loopback addresses a service with this HOST takes connections."""
    [port] = free_ports(1)
    with ExitStack() as stack:
        for listener in listen(host, port):
            stack.enter_context(listener)
        found = set()
        for address in ("127.0.0.1", "::1"):
            try:
                socket.create_connection((address, port), timeout=5).close()
                found.add(address)
            except OSError:
                pass
        return found


@ipv6
@pytest.mark.parametrize("host", ["localhost", "::"])
def test_both_protocols(host):
    assert reached(host) == {"127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_ipv4_alone(host):
    assert reached(host) == {"127.0.0.1"}


@ipv6
def test_ipv6_alone():
    assert reached("::1") == {"::1"}


@pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run([*NETWORK, OFF], capture_output=True).returncode != 0,
    reason="unshare is missing or may not make a network of its own here",
)
@pytest.mark.parametrize("host", ["localhost", "::"])
def test_a_machine_whose_ipv6_is_turned_off(host):
    code = f"from serve.listening import listen; print(len(listen({host!r}, 3001)))"
    command = [*NETWORK, f'{OFF} && exec "$0" -c "{code}"', sys.executable]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "1\n"


@ipv6
def test_localhost_needs_its_port_on_both_addresses():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadSetting, match=rf"^PORT: cannot listen on \[::1\]:{port}: Address already in use$"):
            listen("localhost", port)
        with socket.create_server(("127.0.0.1", port)):
            pass  # what was taken before the failure is free again


@pytest.mark.parametrize("host", ["x86_64-conda-linux-gnu", "192.0.2.1", "2001:db8::1", "two..dots"])
def test_a_host_that_is_not_this_machines(host):
    with pytest.raises(BadSetting, match=rf"^HOST='{host}': "):
        listen(host, free_ports(1)[0])
