"""What the soak judges by."""

import math

import pytest

from tests.faults.soak import growth, leaks


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([20, 52, 20, 31, 25, 20, 44, 20], False),  # connections come and go
        ([20, 52, 21, 31, 25, 22, 44, 23], True),
        ([30, 30, 20, 20, 20, 20, 20, 20], False),
        ([20], False),
    ],
)
def test_descriptors_leak_where_their_least_number_rises(files, expected):
    assert leaks(files) is expected


def test_growth_is_the_slope_as_a_share_an_hour():
    assert growth([0, 1800, 3600], [90, 100, 110]) == pytest.approx(0.2)
    assert growth([0, 60], [100, 100]) == pytest.approx(0)
    assert math.isnan(growth([0], [100]))
