"""One service that is broken again and again; each test finds it ready."""

import pytest

from tests.faults.load import Case, sample_cases
from tests.faults.stack import Stack, running


@pytest.fixture(scope="session")
def own_stack(tmp_path_factory, model_store):
    with running(tmp_path_factory.mktemp("stack"), MODEL_STORE=str(model_store)) as stack:
        yield stack


@pytest.fixture(scope="session")
def cases(own_stack) -> list[Case]:
    return sample_cases(own_stack.port)


@pytest.fixture
def stack(own_stack: Stack, cases) -> Stack:
    own_stack.wait_ready()
    return own_stack
