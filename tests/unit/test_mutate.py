"""`python -m tests.faults mutate` takes out each protection: the text that it takes out is still there."""

import pytest

from tests.faults.mutate import PROTECTIONS
from tests.stack import ROOT


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda protection: protection.against)
def test_each_protection_stands_where_it_is_said_to(protection):
    assert (ROOT / protection.file).read_text().count(protection.text) == 1
    assert (ROOT / protection.tests.split(" ", 1)[0]).exists()
