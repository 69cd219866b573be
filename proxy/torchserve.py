"""The one client of TorchServe: a pooled connection, its token, one POST a trip.

The token comes from TorchServe's key file; after a refusal it is read again, since a restart or a rotation of tokens
writes a new one.
"""

import logging
from collections.abc import Sequence
from typing import Self

import aiohttp

from proxy import trip
from proxy.errors import ModelServerError, NotReady
from proxy.settings import Settings
from proxy.upstream import Upstream

log = logging.getLogger(__name__)
REFUSED = (400, 401, 403)  # what TorchServe 0.12 answers to a missing, wrong or expired token
BINARY = "application/octet-stream"


class TorchServe:
    """A pool of connections to TorchServe's inference API.

    Args:
        settings: where it listens and where its key file lies.
    """

    def __init__(self, settings: Settings) -> None:
        self.upstream = Upstream(settings)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),  # the caller owns the deadline
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def carry(
        self, model: str, alone: bool, images: Sequence[bytes], flags: Sequence[int], traceparent: str = ""
    ) -> list[trip.Reply]:
        """One trip to `model`; a reply for each image, in order.

        Args:
            alone: the trip holds one upload only, so that its pictures may be of any size.
            traceparent: the trace that the trip belongs to, if any.

        Raises:
            NotReady: nothing listens there.
            ModelServerError: TorchServe failed, refused or answered nonsense.
        """
        body = trip.encode(images, flags)
        try:
            status, answer = await self._post(model, alone, body, traceparent)
            if status in REFUSED:
                self.upstream.read_token()
                status, answer = await self._post(model, alone, body, traceparent)
        except aiohttp.ClientConnectorError as error:
            raise NotReady() from error
        except (aiohttp.ClientError, OSError) as error:
            raise ModelServerError() from error
        if status != 200:
            log.warning("TorchServe answered a trip of %d pictures with %d: %.200r", len(images), status, answer)
            raise ModelServerError()
        try:
            return trip.decode(answer, len(images))
        except ValueError as error:
            raise ModelServerError() from error

    async def _post(self, model: str, alone: bool, body: bytes, traceparent: str) -> tuple[int, bytes]:
        headers = self.upstream.header | {"X-Mnist-Trip": "alone" if alone else "shared", "Content-Type": BINARY}
        if traceparent:
            headers["traceparent"] = traceparent
        async with self._session.post(self.upstream.base + model, data=body, headers=headers) as response:
            return response.status, await response.read()
