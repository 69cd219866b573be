"""Whether the service can answer: proven by a real inference every second, of either model, never by a ping.

TorchServe's own /ping says Healthy while models load and for minutes after a worker died.
"""

import asyncio
import base64
from math import inf
from time import monotonic

from proxy.errors import NotReady, ServiceError
from proxy.lane import Upload
from proxy.request import Request, Response
from proxy.settings import Settings
from proxy.torchserve import TorchServe
from proxy.trip import DETAILS, UNCOUNTED

PERIOD = 1.0  # seconds between probes once ready
IMPATIENT = 0.1  # seconds between probes until then
TIMEOUT = 3.0  # seconds for one probe
LATELY = 4.0  # seconds for which a successful inference counts: one probe may be slow, two may not

# One grey pixel: the smallest picture that goes the whole way, decoding and the net included.
PROBE = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg==")


class Readiness:
    """Watches TorchServe through the same client that serves.

    Attributes:
        proof: what the last successful inference answered, with details.
        draining: set when the service is about to stop; /readyz says so at once.
        closed: set when no new upload is to be taken any more.
    """

    def __init__(self, settings: Settings, torchserve: TorchServe) -> None:
        self._torchserve = torchserve
        self._proven = dict.fromkeys((settings.ts_small_model, settings.ts_bulk_model), 0.0)  # monotonic seconds
        self.proof = b"{}"
        self.draining = self.closed = self._reachable = False

    @property
    def ready(self) -> bool:
        """A real inference of every model has worked lately, and we are not stopping."""
        return not self.draining and self._reachable and monotonic() - min(self._proven.values()) < LATELY

    @property
    def shut(self) -> bool:
        """Whether an upload could only wait in vain: before the first success, while TorchServe is away, when stopping.
        A TorchServe that merely hangs is given until the deadline."""
        return self.closed or not self._reachable

    def admit(self) -> None:
        """Raise NotReady while shut."""
        if self.shut:
            raise NotReady()

    async def readyz(self, request: Request) -> Response:
        """GET /readyz"""
        if not self.ready:
            raise NotReady()
        return Response(200, b'{"ready": true}')

    async def watch(self) -> None:
        """Probe for ever."""
        while True:
            await asyncio.gather(*map(self._probe, self._proven))
            await asyncio.sleep(PERIOD if self.ready else IMPATIENT)

    async def _probe(self, model: str) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                [reply] = await self._torchserve.carry(model, True, (Upload((PROBE,), DETAILS | UNCOUNTED, inf),))
            if reply.status == 200:
                self._proven[model] = monotonic()
                self._reachable = all(self._proven.values())
                self.proof = reply.body
        except NotReady:
            self._reachable, self._proven[model] = False, 0.0
        except (ServiceError, TimeoutError):
            return


async def livez(request: Request) -> Response:
    """GET /livez: the process lives."""
    return Response(200, b'{"live": true}')
