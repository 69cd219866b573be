"""One real service for all tests that only talk to it: supervisor, proxy, TorchServe, workers, on free ports."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.load import Case, sample_cases
from tests.stack import Stack, running
from train.own_model import ROOT, WEIGHTS
from train.pack import pack

hypothesis.settings.register_profile("repeatable", derandomize=True)  # the same examples in each run
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def model_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the archive, packed from the checkout as it is."""
    return pack(WEIGHTS, ROOT / "handler", tmp_path_factory.mktemp("model_store")).parent


@pytest.fixture(scope="session")
def service(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A ready service that all tests share. Who stops it or needs other settings starts one of their own."""
    with running(tmp_path_factory.mktemp("service"), MODEL_STORE=str(model_store)) as stack:
        yield stack


@pytest.fixture(scope="session")
def cases(service: Stack) -> list[Case]:
    """Uploads of the ten samples and what the service answers to each."""
    return sample_cases(service.port)


@pytest.fixture
def stack(service: Stack, cases: list[Case]) -> Stack:
    """The shared service, ready again after what another test did to it."""
    service.wait_ready()
    return service
