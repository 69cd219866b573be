"""The wire format of a trip: many pictures to the handler in one request, a reply for each of them back.

There: count, then (length, flags) a picture, then the pictures. Back: count, then (status, length) a reply, then the
replies. All numbers big-endian and unsigned. The handler's side of it is handler/trip.py.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

DETAILS = 1  # flag of a picture whose reply shall carry details
UNCOUNTED = 2  # flag of a picture that nobody uploaded: it proves that all works, and is no part of any statistics
TRAVEL_ALONE = 421  # status of a picture that is too large to share a trip: send it again, alone


class Reply(NamedTuple):
    """What the handler says to one picture: 200 and the body for the client, or another status and its reason."""

    status: int
    body: bytes


def encode(images: Sequence[bytes], flags: Sequence[int]) -> bytes:
    """A trip's body: `images` with the `flags` of each."""
    heads = [number for image, flag in zip(images, flags, strict=True) for number in (len(image), flag)]
    return b"".join((struct.pack("!I" + "IB" * len(images), len(images), *heads), *images))


def decode(body: bytes, count: int) -> list[Reply]:
    """The replies to a trip of `count` pictures.

    Raises:
        ValueError: the body is not a reply to such a trip.
    """
    try:
        counted, *heads = struct.unpack_from("!I" + "HI" * count, body)
    except struct.error as error:
        raise ValueError("the reply is cut off") from error
    if counted != count:
        raise ValueError("the reply does not count as many pictures as the trip")
    replies, at = [], 4 + 6 * count
    for status, length in zip(heads[::2], heads[1::2], strict=True):
        replies.append(Reply(status, body[at : at + length]))
        at += length
    if at != len(body):
        raise ValueError("the reply's lengths do not add up")
    return replies
