"""Whether the service can answer: shown by a real inference of each model every second, never by a ping.

TorchServe's own /ping says Healthy while models load and for minutes after a worker has died.
"""

import asyncio
import base64
from enum import Enum
from math import inf
from time import monotonic

from proxy.app import Request, Response
from proxy.batcher import Item
from proxy.errors import Cause, NotReady, ServiceError
from proxy.settings import Settings
from proxy.torchserve import DETAILS, PROBE, TorchServe

PERIOD = 1.0  # seconds between probes once ready
PERIOD_UNREADY = 0.1  # seconds between probes until then
TIMEOUT = 3.0  # seconds for one probe
RECENT = PERIOD + TIMEOUT  # seconds for which a successful probe counts: until the next one could have timed out

# One grey pixel as a PNG: the smallest image that is decoded and classified like any other.
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg==")


class State(Enum):
    """What the service is doing; the value is shown by the metrics.

    A STALLED TorchServe accepts connections, but no probe has worked lately: requests wait for it until their
    deadline. A DRAINING service still takes uploads, so that load balancers can leave; a CLOSING one takes none.
    """

    STARTING = "starting"
    READY = "ready"
    STALLED = "stalled"
    UNREACHABLE = "unreachable"
    DRAINING = "draining"
    CLOSING = "closing"


# States in which uploads are refused, and the cause that the refusal names.
REFUSING = {
    State.STARTING: Cause.STARTING,
    State.UNREACHABLE: Cause.TORCHSERVE_UNREACHABLE,
    State.CLOSING: Cause.DRAINING,
}


class Health:
    """Probes TorchServe through the client that serves requests.

    Attributes:
        shutdown: DRAINING or CLOSING once the service is stopping, else None.
        details: result of the last successful probe, JSON with details.
    """

    def __init__(self, settings: Settings, torchserve: TorchServe) -> None:
        self._torchserve = torchserve
        self._succeeded = dict.fromkeys((settings.ts_small_model, settings.ts_large_model), -inf)  # monotonic seconds
        self._unanswered = State.STARTING  # the state while a model has not answered: UNREACHABLE once both have
        self.shutdown: State | None = None
        self.details = b"{}"

    @property
    def state(self) -> State:
        """The state at this moment."""
        if self.shutdown:
            return self.shutdown
        oldest = min(self._succeeded.values())
        if oldest == -inf:
            return self._unanswered
        return State.READY if monotonic() - oldest <= RECENT else State.STALLED

    def check_accepting(self) -> None:
        """Raise NotReady where an upload could only fail."""
        if cause := REFUSING.get(self.state):
            raise NotReady(cause)

    async def readyz(self, request: Request) -> Response:
        """GET /readyz: 200 only while a real inference has worked lately."""
        if self.state is not State.READY:
            raise NotReady()  # without a cause: a probe is no refused upload
        return Response(200, b'{"ready": true}')

    async def livez(self, request: Request) -> Response:
        """GET /livez: the process lives."""
        return Response(200, b'{"live": true}')

    async def probe_forever(self) -> None:
        """Probe both models again and again."""
        while True:
            await asyncio.gather(*map(self._probe, self._succeeded))
            await asyncio.sleep(PERIOD if self.state is State.READY else PERIOD_UNREADY)

    async def _probe(self, model: str) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                [result] = await self._torchserve.predict(model, [Item(PIXEL, DETAILS | PROBE, inf)])
        except NotReady:
            self._succeeded[model] = -inf
        except (ServiceError, TimeoutError):
            return
        else:
            if isinstance(result, bytes):
                self._succeeded[model], self.details = monotonic(), result
        if self.state is State.READY:
            self._unanswered = State.UNREACHABLE
