"""The wire format of a trip: many pictures from the proxy in one request, a reply for each of them back.

There: count, then (length, flags) a picture, then the pictures. Back: count, then (status, length) a reply, then the
replies. All numbers big-endian and unsigned. The proxy's side of it is proxy/trip.py.
"""

import struct
from collections.abc import Sequence

DETAILS = 1  # flag of a picture whose reply shall carry details
UNCOUNTED = 2  # flag of a picture that nobody uploaded: it proves that all works, and is no part of any statistics
TRAVEL_ALONE = 421  # status of a picture that is too large to share a trip: send it again, alone


def decode(body: bytes) -> tuple[list[bytes], list[int]]:
    """The images of a trip and the flags of each.

    Raises:
        ValueError: the body is not a trip.
    """
    try:
        (count,) = struct.unpack_from("!I", body)
        if count > len(body) // 5:  # before a format string of that length is built
            raise ValueError("the trip is cut off")
        heads = struct.unpack_from("!" + "IB" * count, body, 4)
    except struct.error as error:
        raise ValueError("the trip is cut off") from error
    images, at = [], 4 + 5 * count
    for length in heads[::2]:
        images.append(body[at : at + length])
        at += length
    if at != len(body):
        raise ValueError("the trip's lengths do not add up")
    return images, list(heads[1::2])


def encode(replies: Sequence[tuple[int, bytes]]) -> bytes:
    """The body that carries a (status, body) for each image of a trip."""
    heads = [number for status, body in replies for number in (status, len(body))]
    return b"".join((struct.pack("!I" + "HI" * len(replies), len(replies), *heads), *(body for _, body in replies)))
