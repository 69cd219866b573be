"""Readiness is a real inference that worked lately, of either model; nothing less."""

import asyncio

import pytest
from proxy.readiness import Readiness
from proxy.trip import Reply

from proxy import readiness as module
from proxy.errors import ModelServerError, NotReady
from proxy.settings import Settings


class TorchServe:
    """The far end: `state` of each model is a reply status, an error to raise, or None to hang."""

    def __init__(self, **state):
        self.state = state

    async def carry(self, model, alone, uploads):
        state = self.state[model]
        if state is None:
            await asyncio.sleep(60)
        if isinstance(state, Exception):
            raise state
        return [Reply(state, b"{}")]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name, seconds in {"PERIOD": 0.01, "IMPATIENT": 0.01, "TIMEOUT": 0.05, "LATELY": 0.5}.items():
        monkeypatch.setattr(module, name, seconds)


def watched(torchserve, *steps):
    """Watch `torchserve`; run the steps one after the other with time to notice between them."""

    async def scenario():
        readiness = Readiness(Settings(), torchserve)
        assert not readiness.ready
        task = asyncio.create_task(readiness.watch())
        await asyncio.sleep(0.1)
        for step in steps:
            step(readiness)
            await asyncio.sleep(0.8)
        task.cancel()
        return readiness

    return asyncio.run(scenario())


def taken(readiness):
    return not readiness.shut


def test_ready_once_both_models_have_answered():
    readiness = watched(TorchServe(mnist_small=200, mnist_bulk=200))
    assert readiness.ready
    assert taken(readiness)


@pytest.mark.parametrize("state", [None, ModelServerError(), NotReady(), 422])
def test_not_ready_and_nothing_taken_while_one_model_never_did(state):
    readiness = watched(TorchServe(mnist_small=200, mnist_bulk=state))
    assert not readiness.ready
    assert not taken(readiness)


def test_a_torchserve_that_hangs_is_not_ready_but_uploads_may_wait_for_it():
    far = TorchServe(mnist_small=200, mnist_bulk=200)
    readiness = watched(far, lambda _: far.state.update(mnist_small=None))
    assert not readiness.ready
    assert taken(readiness)


def test_a_torchserve_that_is_away_takes_nothing_until_it_has_proven_itself_again():
    far = TorchServe(mnist_small=200, mnist_bulk=200)
    readiness = watched(far, lambda _: far.state.update(mnist_small=NotReady()))
    assert not readiness.ready
    assert not taken(readiness)
    readiness = watched(far, lambda _: far.state.update(mnist_small=200))
    assert readiness.ready
    assert taken(readiness)


def test_draining_is_said_first_and_uploads_are_taken_until_closed():
    readiness = watched(TorchServe(mnist_small=200, mnist_bulk=200))
    readiness.draining = True
    assert not readiness.ready
    assert taken(readiness)
    readiness.closed = True
    assert not taken(readiness)
