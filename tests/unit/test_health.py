"""Health: ready is a real inference that worked lately, of either model; each state takes uploads or says why not."""

import asyncio

import pytest

from proxy import health as module
from proxy.errors import Cause, ImageError, ModelServerError, NotReady
from proxy.health import Health, State
from proxy.settings import Settings
from tests.rsgi import eventually, request_of

AWAY = NotReady(Cause.TORCHSERVE_UNREACHABLE)


class TorchServe:
    """The far end: `state` of each model is a reply's status, an error to raise, or None to hang."""

    def __init__(self, **state):
        self.state, self.probes = state, 0

    async def predict(self, model, items):
        self.probes += 1
        state = self.state[model]
        if state is None:
            await asyncio.sleep(60)
        if isinstance(state, Exception):
            raise state
        return [b'{"details": {}}' if state == 200 else ImageError(state, "undecodable_image", "This is no image.")]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name, seconds in {"PERIOD": 0.01, "PERIOD_UNREADY": 0.01, "TIMEOUT": 0.05, "RECENT": 0.5}.items():
        monkeypatch.setattr(module, name, seconds)


def probed(far, scenario):
    """Run `scenario(health)` while `far` is probed."""

    async def whole():
        health = Health(Settings(), far)
        assert health.state is State.STARTING
        task = asyncio.create_task(health.probe_forever())
        try:
            await asyncio.wait_for(scenario(health), 30)
        finally:
            task.cancel()

    asyncio.run(whole())


async def reaches(health, state):
    await eventually(lambda: health.state is state)


def refusal(health):
    """The cause that an upload is refused with at this moment, None where it is admitted."""
    try:
        health.check_accepting()
    except NotReady as error:
        return error.cause
    return None


async def readyz(health):
    """200, or the status of the refusal with its cause."""
    try:
        return (await health.readyz(request_of("/readyz"))).status
    except NotReady as error:
        return error.status, error.cause


def working():
    return TorchServe(mnist_small=200, mnist_large=200)


def test_ready_once_both_models_have_answered():
    async def scenario(health):
        await reaches(health, State.READY)
        assert refusal(health) is None
        assert await readyz(health) == 200
        assert health.details == b'{"details": {}}'

    probed(working(), scenario)


@pytest.mark.parametrize("state", [None, ModelServerError(), AWAY, 422])
def test_starting_until_the_second_model_answers_too(state):
    far = TorchServe(mnist_small=200, mnist_large=state)

    async def scenario(health):
        await eventually(lambda: far.probes > 10)
        assert health.state is State.STARTING
        assert refusal(health) is Cause.STARTING
        assert await readyz(health) == (503, Cause.NONE), "a probe is no refused upload"
        far.state["mnist_large"] = 200
        await reaches(health, State.READY)

    probed(far, scenario)


@pytest.mark.parametrize("state", [None, ModelServerError(), 500])
def test_uploads_may_wait_for_a_torchserve_that_stalls(state):
    far = working()

    async def scenario(health):
        await reaches(health, State.READY)
        far.state["mnist_small"] = state
        await reaches(health, State.STALLED)
        assert refusal(health) is None
        assert await readyz(health) == (503, Cause.NONE)
        far.state["mnist_small"] = 200
        await reaches(health, State.READY)

    probed(far, scenario)


def test_a_lost_torchserve_must_answer_with_both_models_again():
    far = working()

    async def scenario(health):
        await reaches(health, State.READY)
        far.state.update(mnist_small=AWAY, mnist_large=AWAY)
        await reaches(health, State.UNREACHABLE)
        assert refusal(health) is Cause.TORCHSERVE_UNREACHABLE
        far.state.update(mnist_small=200, mnist_large=ModelServerError())  # it listens before its models are loaded
        seen = far.probes
        await eventually(lambda: far.probes > seen + 10)
        assert health.state is State.UNREACHABLE
        far.state["mnist_large"] = 200
        await reaches(health, State.READY)

    probed(far, scenario)


def test_draining_is_said_first_and_uploads_are_taken_until_closing():
    async def scenario(health):
        await reaches(health, State.READY)
        health.shutdown = State.DRAINING
        assert await readyz(health) == (503, Cause.NONE)
        assert refusal(health) is None
        health.shutdown = State.CLOSING
        assert refusal(health) is Cause.DRAINING
        assert (await health.livez(request_of("/livez"))).status == 200

    probed(working(), scenario)
