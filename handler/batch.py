"""A batch on its way through the handler: rows -> images -> pictures -> answers -> a reply for each row.

A row is either a batch of the proxy, marked by a header and answered with 200 whatever its images are, or one upload of
a client that talks to TorchServe itself, answered with the upload's own status.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import wire
from decode import PictureError, UndecodableImage
from digit import CLASS_NAMES, SIDE
from reading import Reading

PROXY_HEADER = "X-Mnist-Batch"  # marks the proxy's requests
FIELDS = ("image", "data", "body")  # a part of that name, curl's usual name, or the raw body

Answer = bytes | PictureError  # to one image: its JSON body, or what is wrong with it


class MissingImage(PictureError):
    status = 400
    code = "missing_image"


@dataclass(slots=True)
class Row:
    """One row of a batch.

    Attributes:
        images: encoded bytes; one, unless the row is the proxy's.
        flags: wire.DETAILS, wire.PROBE or 0 of each.
        from_proxy: whether it is a batch of the proxy, and not a client's own upload.
        error: what is wrong with the row as a whole; it then has no images.
    """

    images: Sequence[bytes] = ()
    flags: Sequence[int] = ()
    from_proxy: bool = False
    error: PictureError | None = None


@dataclass(slots=True)
class Batch:
    """All rows that TorchServe passes at once, and what has become of their images so far.

    Attributes:
        pictures: uint8 [m, 28, 28], of the m images that can be read.
        outcomes: a Reading or an error for each image.
        logits: float32 [m, 10].
    """

    rows: list[Row]
    pictures: np.ndarray = field(default_factory=lambda: np.empty((0, SIDE, SIDE), np.uint8))
    outcomes: list[Reading | PictureError] = field(default_factory=list)
    logits: np.ndarray = field(default_factory=lambda: np.empty((0, len(CLASS_NAMES)), np.float32))

    def flagged(self, flag: int) -> set[int]:
        """Positions, among the pictures, of those whose image came with `flag`."""
        flags = (flag for row in self.rows for flag in row.flags)
        readable = [f for f, outcome in zip(flags, self.outcomes, strict=True) if isinstance(outcome, Reading)]
        return {position for position, f in enumerate(readable) if f & flag}


def unpack(row: Mapping[str, Any], from_proxy: bool) -> Row:
    """The images of a row; `from_proxy`: it came with PROXY_HEADER."""
    image = next((row[field] for field in FIELDS if field in row), None)
    if image is None:
        return Row(error=MissingImage("Send the picture as a file part named `image`, or as the raw body."))
    if not isinstance(image, bytes | bytearray):  # TorchServe parses JSON bodies
        return Row(error=UndecodableImage("Send the bytes of a PNG, JPEG, WebP, GIF, BMP or TIFF file."))
    if not from_proxy:
        return Row((bytes(image),), (0,))
    try:
        images, flags = wire.decode(bytes(image))
    except ValueError:
        return Row(error=UndecodableImage(f"This is no batch of the proxy's; leave out the header {PROXY_HEADER}."))
    return Row(images, flags, from_proxy)


def reply(row: Row, answers: Sequence[Answer], request_id: str | None) -> tuple[int, bytes]:
    """Status and body of TorchServe's response to a row whose images got these answers."""
    if row.from_proxy and row.error is None:
        return 200, wire.encode([_status_and_body(answer) for answer in answers])
    answer = row.error or answers[0]
    if isinstance(answer, bytes):
        return 200, answer
    reason = {"code": answer.code, "message": answer.message, "request_id": request_id}
    return answer.status, json.dumps({"success": False, "error": reason}).encode()


def _status_and_body(answer: Answer) -> tuple[int, bytes]:
    """One answer as the proxy gets it."""
    if isinstance(answer, bytes):
        return 200, answer
    return answer.status, json.dumps({"code": answer.code, "message": answer.message}).encode()
