"""What the soak judges by."""

import math
import socket

import psutil
import pytest

from tests.faults.soak import descriptors, growth


def test_growth_is_the_slope_as_a_share_an_hour():
    assert growth([0, 1800, 3600], [90, 100, 110]) == pytest.approx(0.2)
    assert growth([0, 60], [100, 100]) == pytest.approx(0)
    assert math.isnan(growth([0], [100]))


def test_descriptors_leave_out_the_connections_upstream():
    with socket.create_server(("127.0.0.1", 0)) as upstream, socket.create_server(("127.0.0.1", 0)) as other:
        port, process = upstream.getsockname()[1], psutil.Process()
        before = descriptors(process, port)
        with socket.create_connection(upstream.getsockname()), upstream.accept()[0]:
            assert descriptors(process, port) == before
        with socket.create_connection(other.getsockname()):
            assert descriptors(process, port) == before + 1
