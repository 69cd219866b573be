"""Images as uploaded -> pictures for the model.

decode each -> those that are MNIST's already pass as they are -> the rest is canonicalized.
"""

import logging
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

import numpy as np

from candidates import in_doubt, others
from canonical import Canonical, as_mnist, drawn
from decode import PictureError, decode, max_pixels_from_environment
from digit import SIDE
from ink import find_ink
from levels import Levels
from transparency import opaque


class Origin(Enum):
    """Where the picture that the model sees comes from."""

    OWN = "own"  # the image is one of MNIST's kind already and passed as it is
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


_PLAIN = Reading()


def read(
    images: Sequence[bytes], max_pixels: int | Sequence[int] | None = None
) -> tuple[np.ndarray, list[Reading | PictureError]]:
    """Pictures, uint8 [m, 28, 28], of the m readable images in order; and for each image its Reading or its error.

    Args:
        max_pixels: limit of an image's width times height, for all or of each; default: the environment's MAX_PIXELS.
    """
    limit = max_pixels_from_environment() if max_pixels is None else max_pixels
    limits = [limit] * len(images) if isinstance(limit, int) else limit
    outcomes: list[Reading | PictureError] = [_PLAIN] * len(images)
    pictures = np.zeros((len(images), SIDE, SIDE), np.uint8)
    lossy = np.zeros(len(images), bool)
    waiting: dict[int, np.ndarray] = {}  # pixels of what is certainly no picture of MNIST's
    for i, data in enumerate(images):
        try:
            pixels, lossy[i] = decode(data, limits[i])
        except PictureError as error:
            outcomes[i] = error.with_traceback(None)  # its frames hold it, and the pixels: until the next gc
            continue
        if (grey := _small_grey(pixels)) is None:
            waiting[i] = pixels
        else:
            pictures[i] = grey
    settled, cleaned = np.zeros(len(images), bool), pictures
    if len(waiting) < len(images):
        settled, cleaned = as_mnist(pictures, lossy)
    for i in map(int, np.flatnonzero(~settled)):
        if isinstance(outcomes[i], Reading):
            outcomes[i] = _canonicalized(waiting.get(i, pictures[i]), cleaned[i])
    readable = [isinstance(outcome, Reading) for outcome in outcomes]
    return cleaned if all(readable) else cleaned[readable], outcomes


def _canonicalized(pixels: np.ndarray, picture: np.ndarray) -> Reading | PictureError:
    """Write the canonical picture of `pixels` into `picture`."""
    try:
        ink = find_ink(Levels(opaque(pixels)))
        plain = drawn(ink)
        more = others(ink, plain) if in_doubt(ink, plain) else ()
    except Exception:  # a bug of ours must cost one picture, not its whole batch
        logging.getLogger(__name__).exception("cannot canonicalize pixels of shape %s", pixels.shape)
        return PictureError("The image could not be read because of an internal error.")
    picture[:] = plain.picture
    return Reading(plain.warnings, plain.coarse, tuple(more), Origin.READ)


def _small_grey(pixels: np.ndarray) -> np.ndarray | None:
    """[28, 28] of pixels that are 28x28 and grey, be it in three equal channels or opaque; else None."""
    if pixels.shape == (SIDE, SIDE):
        return pixels
    if pixels.shape[:2] != (SIDE, SIDE):
        return None
    first = pixels[:, :, 0]
    same = (pixels[:, :, 1] == first).all() and (pixels[:, :, 2] == first).all()
    opaque = pixels.shape[2] == 3 or (pixels[:, :, 3] == 255).all()
    return first if same and opaque else None
