"""The one client of TorchServe: connections that stay open, its token, one POST for each batch.

items -> wire format (handler/wire.py is its other end) -> POST /predictions/<model> -> a result for each item

The token comes from TorchServe's key file. Each start of TorchServe writes a new one, so it is read again after a
refusal. While a rollout runs, `standby.json` beside that file names another TorchServe to send batches to.
"""

import asyncio
import json
import logging
import os
import re
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from proxy.batcher import Item, Result
from proxy.errors import Cause, ImageError, ModelServerError, NotReady
from proxy.settings import Settings

log = logging.getLogger(__name__)
STANDBY = "standby.json"  # {"port": of its inference API, "key_file": its path, "pid": the rollout's; void once dead}
DETAILS = 1  # flag of an image whose reply shall carry details
PROBE = 2  # flag of an image of our own that shows whether all works; it stays out of the statistics
_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) .*?\r\ncontent-length: *(\d+)", re.DOTALL | re.IGNORECASE)
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]  # for one request at a time


class TorchServe:
    """The client. Close it with `close`.

    Attributes:
        port: of the inference API that batches go to.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self.port = settings, 0
        self._idle: list[Connection] = []  # the last one used goes first
        self.follow_standby()

    def close(self) -> None:
        """Close the connections that no batch is on."""
        for _, writer in self._idle:
            writer.close()

    def follow_standby(self) -> None:
        """Send batches to the standby where there is one; to be called now and then."""
        port, key_file = self._settings.ts_inference_port, self._settings.ts_key_file
        with suppress(OSError, ValueError, KeyError, TypeError):  # no standby, or its process has died
            standby = json.loads(key_file.with_name(STANDBY).read_text())
            os.kill(standby["pid"], 0)
            port, key_file = int(standby["port"]), Path(standby["key_file"])
        if port != self.port:
            self.close()
            self.port, self._key_file, self._idle = port, key_file, []
            self._read_token()

    async def predict(self, model: str, items: Sequence[Item]) -> list[Result]:
        """Send one batch to `model`; a result for each item, in order.

        Raises:
            NotReady: nothing listens there.
            ModelServerError: TorchServe failed, refused or answered nonsense.
        """
        body = encode(items)
        try:
            status, answer = await self._post(model, body)
            if status in (400, 401, 403):  # TorchServe 0.12's answers to a missing, wrong or expired token
                self._read_token()
                status, answer = await self._post(model, body)
            if status == 200:
                return [_result(*reply) for reply in decode(answer, len(items))]
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise ModelServerError() from error.with_traceback(None)  # its frames hold the images
        log.warning("TorchServe answered a batch of %d images with %d: %.200r", len(items), status, answer)
        raise ModelServerError()

    async def _post(self, model: str, body: bytes) -> tuple[int, bytes]:
        head = (
            f"POST /predictions/{model} HTTP/1.1\r\nHost: {self._settings.ts_host}:{self.port}\r\n"
            f"X-Mnist-Batch: 1\r\nContent-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n"
            f"{self._authorization}\r\n"
        )
        port = self.port
        reader, writer = await self._connection()
        try:
            writer.write(head.encode() + body)
            answered = await reader.readuntil(b"\r\n\r\n")
            found = _HEAD.match(answered)
            if not found:  # TorchServe's responses always have a Content-Length
                raise ValueError(f"no response of TorchServe: {answered[:100]!r}")
            status, answer = int(found[1]), await reader.readexactly(int(found[2]))
        except BaseException:  # a later response on it would be taken for that of the next batch
            writer.transport.abort()
            raise
        if status == 200 and port == self.port:
            self._idle.append((reader, writer))
        else:  # TorchServe ends the connection too, or a rollout has turned to another one
            writer.transport.abort()
        return status, answer

    async def _connection(self) -> Connection:
        """One that is idle, or a new one. Raises NotReady where nothing listens."""
        while self._idle:
            reader, writer = self._idle.pop()
            unread = reader._buffer  # type: ignore[attr-defined]  # asyncio has no other way to ask
            if not (unread or reader.at_eof() or writer.is_closing()):
                return reader, writer
            writer.transport.abort()  # what is unread would be taken for the response to the next batch
        try:
            return await asyncio.open_connection(self._settings.ts_host, self.port)
        except OSError as error:
            raise NotReady(Cause.TORCHSERVE_UNREACHABLE) from error

    def _read_token(self) -> None:
        self._authorization = ""
        try:
            token = json.loads(self._key_file.read_text())["inference"]["key"]
            self._authorization = f"Authorization: Bearer {token}\r\n"
        except FileNotFoundError:  # before TorchServe's first start, or without token authorization
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:  # TorchServe may be writing it at this moment
            log.warning("cannot read TorchServe's key file: %s", type(error).__name__)


def _result(status: int, body: bytes) -> Result:
    """The body for an image that was read, or what is wrong with any other."""
    if status == 200:
        return body
    try:
        error = json.loads(body)
        return ImageError(status, str(error["code"]), str(error["message"]))
    except (ValueError, TypeError, KeyError):
        return ModelServerError()


def encode(items: Sequence[Item]) -> bytes:
    """A batch's body: count, then (length, flags) of each image, then the images. Numbers are big-endian, unsigned."""
    heads = [number for item in items for number in (len(item.image), item.flags)]
    return b"".join((struct.pack("!I" + "IB" * len(items), len(items), *heads), *(item.image for item in items)))


def decode(body: bytes, count: int) -> list[tuple[int, bytes]]:
    """The replies to a batch of `count` images: count, then (status, length) of each, then their bodies.

    Raises:
        ValueError: the body is no reply to such a batch.
    """
    try:
        counted, *heads = struct.unpack_from("!I" + "HI" * count, body)
    except struct.error as error:
        raise ValueError("the reply is cut off") from error
    replies, at = [], 4 + 6 * count
    for status, length in zip(heads[::2], heads[1::2], strict=True):
        replies.append((status, body[at : at + length]))
        at += length
    if counted != count or at != len(body):
        raise ValueError("the reply's count or lengths do not add up")
    return replies
