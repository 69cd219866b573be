"""The wire format of a proxy's batch: many images in one request, a reply for each of them back.

There: count, then (length, flags) of each image, then the images. Back: count, then (status, length) of each reply,
then the replies. All numbers are big-endian and unsigned. The other end is proxy/torchserve.py.
"""

import struct
from collections.abc import Sequence

DETAILS = 1  # flag of an image whose reply has details
PROBE = 2  # flag of an image of the proxy's own, which shows whether all works and stays out of the statistics


def decode(body: bytes) -> tuple[list[bytes], list[int]]:
    """The images of a batch and the flags of each.

    Raises:
        ValueError: the body is no batch.
    """
    try:
        (count,) = struct.unpack_from("!I", body)
        if count > len(body) // 5:  # before a format string of that length is built
            raise ValueError("the batch is cut off")
        heads = struct.unpack_from("!" + "IB" * count, body, 4)
    except struct.error as error:
        raise ValueError("the batch is cut off") from error
    images, at = [], 4 + 5 * count
    for length in heads[::2]:
        images.append(body[at : at + length])
        at += length
    if at != len(body):
        raise ValueError("the batch's lengths do not add up")
    return images, list(heads[1::2])


def encode(replies: Sequence[tuple[int, bytes]]) -> bytes:
    """The body of a batch's reply, with a (status, body) for each image."""
    heads = [number for status, body in replies for number in (status, len(body))]
    return b"".join((struct.pack("!I" + "HI" * len(replies), len(replies), *heads), *(body for _, body in replies)))
