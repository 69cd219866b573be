"""The one client of TorchServe: pooled connections, its token, one POST for each batch.

items -> wire format (handler/wire.py is its other end) -> POST /predictions/<model> -> a reply for each item

The token comes from TorchServe's key file. Each start of TorchServe writes a new one, so it is read again after a
refusal. While a rollout runs, `standby.json` beside that file names another TorchServe to send batches to.
"""

import json
import logging
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import aiohttp

from proxy.batcher import Item, Reply
from proxy.errors import Cause, ModelServerError, NotReady
from proxy.settings import Settings

log = logging.getLogger(__name__)
STANDBY = "standby.json"  # {"port": of its inference API, "key_file": its path, "pid": who ends it and ends with it}
DETAILS = 1  # flag of an image whose reply shall carry details
PROBE = 2  # flag of an image of our own that shows whether all works; it stays out of the statistics


class TorchServe:
    """A pool of connections to TorchServe's inference API. Close it with `aclose`.

    Attributes:
        port: of the inference API that batches go to.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self.port = settings, 0
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
        self.follow_standby()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()

    def follow_standby(self) -> None:
        """Send batches to the standby where there is one; to be called now and then."""
        port, key_file = self._settings.ts_inference_port, self._settings.ts_key_file
        with suppress(OSError, ValueError, KeyError, TypeError):  # no standby, or its process has died
            standby = json.loads(key_file.with_name(STANDBY).read_text())
            os.kill(standby["pid"], 0)
            port, key_file = int(standby["port"]), Path(standby["key_file"])
        if port != self.port:
            self.port, self._key_file = port, key_file
            self._read_token()

    async def predict(self, model: str, items: Sequence[Item]) -> list[Reply]:
        """Send one batch to `model`; a reply for each item, in order.

        Raises:
            NotReady: nothing listens there.
            ModelServerError: TorchServe failed, refused or answered nonsense.
        """
        body, headers = encode(items), {"X-Mnist-Batch": "1", "Content-Type": "application/octet-stream"}
        if len(items) == 1 and items[0].traceparent:  # a larger batch belongs to many traces
            headers["traceparent"] = items[0].traceparent
        try:
            status, answer = await self._post(model, body, headers)
            if status in (400, 401, 403):  # TorchServe 0.12's answers to a missing, wrong or expired token
                self._read_token()
                status, answer = await self._post(model, body, headers)
            if status == 200:
                return decode(answer, len(items))
        except aiohttp.ClientConnectorError as error:
            raise NotReady(Cause.TORCHSERVE_UNREACHABLE) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ModelServerError() from error
        log.warning("TorchServe answered a batch of %d images with %d: %.200r", len(items), status, answer)
        raise ModelServerError()

    async def _post(self, model: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        url = f"http://{self._settings.ts_host}:{self.port}/predictions/{model}"
        async with self._session.post(url, data=body, headers=headers | self._authorization) as response:
            return response.status, await response.read()

    def _read_token(self) -> None:
        self._authorization: dict[str, str] = {}
        try:
            token = json.loads(self._key_file.read_text())["inference"]["key"]
            self._authorization = {"Authorization": f"Bearer {token}"}
        except FileNotFoundError:  # before TorchServe's first start, or without token authorization
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:  # TorchServe may be writing it at this moment
            log.warning("cannot read TorchServe's key file: %s", type(error).__name__)


def encode(items: Sequence[Item]) -> bytes:
    """A batch's body: count, then (length, flags) of each image, then the images. Numbers are big-endian, unsigned."""
    heads = [number for item in items for number in (len(item.image), item.flags)]
    return b"".join((struct.pack("!I" + "IB" * len(items), len(items), *heads), *(item.image for item in items)))


def decode(body: bytes, count: int) -> list[Reply]:
    """The replies to a batch of `count` images: count, then (status, length) of each, then their bodies.

    Raises:
        ValueError: the body is no reply to such a batch.
    """
    try:
        counted, *heads = struct.unpack_from("!I" + "HI" * count, body)
    except struct.error as error:
        raise ValueError("the reply is cut off") from error
    if counted != count:
        raise ValueError("the reply counts other images than the batch")
    replies, at = [], 4 + 6 * count
    for status, length in zip(heads[::2], heads[1::2], strict=True):
        replies.append(Reply(status, body[at : at + length]))
        at += length
    if at != len(body):
        raise ValueError("the reply's lengths do not add up")
    return replies
