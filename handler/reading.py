"""What reading an image brought up, and the loop that reads images one by one.

A model of other things than digits has a reader.py of its own; with `read_each` it is one function (docs/own-model.md).
"""

import logging
from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

import numpy as np

from canonical import Canonical
from decode import PictureError, decode
from digit import SIDE


class Origin(Enum):
    """Where the picture that the model sees comes from."""

    OWN = "own"  # the image is one of MNIST's kind already, or its negative, and passed as it is
    READ = "read"  # made from the image
    CHOSEN = "chosen"  # the same, and chosen from several by vote.py


class Reading(NamedTuple):
    """What reading an image brought up.

    warnings: short machine-readable strings.
    coarse: the digit was so small in the image that its picture is blurred.
    others: further readings of an image whose plain one is in doubt; vote.py chooses.
    origin: where the picture comes from.
    """

    warnings: tuple[str, ...] = ()
    coarse: bool = False
    others: tuple[Canonical, ...] = ()
    origin: Origin = Origin.OWN


def read_each(
    images: Sequence[bytes], max_pixels: int, picture_of: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, list[Reading | PictureError]]:
    """Pictures, uint8 [m, SIDE, SIDE], of the m readable images in order; and for each image its Reading or its error.

    Args:
        images: encoded.
        max_pixels: limit of an image's width times height.
        picture_of: makes the picture, uint8 [SIDE, SIDE], of pixels, uint8 [h, w], [h, w, 3] RGB or [h, w, 4] RGBA.
    """
    pictures: list[np.ndarray] = []
    outcomes: list[Reading | PictureError] = []
    for image in images:
        try:
            pictures.append(_checked(picture_of(decode(image, max_pixels).pixels)))
            outcomes.append(Reading(origin=Origin.READ))
        except PictureError as error:
            outcomes.append(error.with_traceback(None))  # its frames hold the pixels: until the next gc
        except Exception:
            outcomes.append(failed("cannot make a picture of an image of %d bytes", len(image)))
    return np.stack(pictures) if pictures else np.empty((0, SIDE, SIDE), np.uint8), outcomes


def failed(message: str, *values: object) -> PictureError:
    """Log the exception that is being handled: a bug must cost one picture, not its whole batch."""
    logging.getLogger(__name__).exception(message, *values)
    return PictureError("The image could not be read because of an internal error.")


def _checked(picture: np.ndarray) -> np.ndarray:
    if picture.shape != (SIDE, SIDE) or picture.dtype != np.uint8:
        raise ValueError(f"picture_of gave {picture.dtype} {list(picture.shape)}, not uint8 [{SIDE}, {SIDE}]")
    return picture
