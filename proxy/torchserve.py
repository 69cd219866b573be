"""The one client of TorchServe: a pooled connection, its token, one POST a trip.

The token comes from TorchServe's key file; after a refusal it is read again, since a restart or a rotation of tokens
writes a new one.
"""

import logging
from collections.abc import Sequence

from http1.client import Client, Unreachable
from proxy import trip
from proxy.errors import ModelServerError, NotReady
from proxy.lane import Upload
from proxy.settings import Settings
from proxy.upstream import Upstream

log = logging.getLogger(__name__)


class TorchServe:
    """A pool of connections to TorchServe's inference API.

    Args:
        settings: where it listens and where its key file lies.
    """

    def __init__(self, settings: Settings) -> None:
        self.upstream, self._client = Upstream(settings), Client()

    async def aclose(self) -> None:
        """Close all connections."""
        self._client.close()

    async def carry(self, model: str, alone: bool, uploads: Sequence[Upload]) -> list[trip.Reply]:
        """One trip to `model`; a reply for each image of the uploads, in order.

        Args:
            alone: the trip holds one upload only, so that its pictures may be of any size.

        Raises:
            NotReady: nothing listens there.
            ModelServerError: TorchServe failed, refused or answered nonsense.
        """
        images = [image for upload in uploads for image in upload.images]
        body = trip.encode(images, [upload.flag for upload in uploads for _ in upload.images])
        headers = {"X-Mnist-Trip": "alone" if alone else "shared", "Content-Type": "application/octet-stream"}
        if len(uploads) == 1 and uploads[0].traceparent:  # a shared trip belongs to many traces
            headers["traceparent"] = uploads[0].traceparent
        try:
            status, answer = await self._post(model, body, headers)
            if status in (400, 401, 403):  # what TorchServe 0.12 says of a missing, wrong or expired token
                self.upstream.read_token()
                status, answer = await self._post(model, body, headers)
            if status == 200:
                return trip.decode(answer, len(images))
        except Unreachable as error:
            raise NotReady() from error
        except (OSError, ValueError) as error:
            raise ModelServerError() from error
        log.warning("TorchServe answered a trip of %d pictures with %d: %.200r", len(images), status, answer)
        raise ModelServerError()

    async def _post(self, model: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        return await self._client.post(
            self.upstream.address, f"/predictions/{model}", headers | self.upstream.header, body
        )
