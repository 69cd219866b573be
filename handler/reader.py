"""Images as uploaded -> pictures for the model.

decode each -> those that are MNIST's already, or its negatives, pass as they are -> the rest is canonicalized.
"""

from collections.abc import Sequence

import numpy as np

from candidates import others
from canonical import Canonical, as_mnist, drawn
from decode import PictureError, decode, max_pixels_from_environment
from digit import SIDE
from ink import find_ink
from levels import Levels
from reading import Origin, Reading, failed
from transparency import opaque

_PLAIN = Reading()
_NEGATIVE = Reading(("inverted",))


def read(images: Sequence[bytes], max_pixels: int | None = None) -> tuple[np.ndarray, list[Reading | PictureError]]:
    """Pictures, uint8 [m, 28, 28], of the m readable images in order; and for each image its Reading or its error.

    Args:
        max_pixels: limit of an image's width times height; default: the environment's MAX_PIXELS.
    """
    limit = max_pixels_from_environment() if max_pixels is None else max_pixels
    outcomes: list[Reading | PictureError] = [_PLAIN] * len(images)
    pictures = np.zeros((len(images), SIDE, SIDE), np.uint8)
    lossy = np.zeros(len(images), bool)
    small: list[int] = []  # places of those that may be MNIST's ...
    larger: dict[int, np.ndarray] = {}  # ... and pixels of those that cannot
    for i, data in enumerate(images):
        try:
            pixels, lossy[i] = decode(data, limit)
        except PictureError as error:
            outcomes[i] = error.with_traceback(None)  # its frames hold it, and the pixels: until the next gc
            continue
        if (grey := _small_grey(pixels)) is None:
            larger[i] = pixels
        else:
            pictures[i] = grey
            small.append(i)
    settled = _settled(pictures, small, lossy)
    for i, outcome in enumerate(outcomes):
        if i in settled:
            outcomes[i] = settled[i]
        elif isinstance(outcome, Reading):
            outcomes[i] = _canonicalized(larger.get(i, pictures[i]), pictures[i])
    readable = [isinstance(outcome, Reading) for outcome in outcomes]
    return pictures if all(readable) else pictures[readable], outcomes


def _settled(pictures: np.ndarray, small: Sequence[int], lossy: np.ndarray) -> dict[int, Reading]:
    """Readings of those among the `small` that are MNIST's, or its negatives; their pictures are made so in place."""
    settled: dict[int, Reading] = {}
    left = np.array(small, int)
    for reading in (_PLAIN, _NEGATIVE):
        if left.size:
            asked = pictures[left] if reading is _PLAIN else ~pictures[left]
            found, cleaned = as_mnist(asked, lossy[left])
            pictures[left[found]] = cleaned[found]
            settled.update(dict.fromkeys(left[found].tolist(), reading))
            left = left[~found]
    return settled


def _canonicalized(pixels: np.ndarray, picture: np.ndarray) -> Reading | PictureError:
    """Write the canonical picture of `pixels` into `picture`."""
    try:
        ink = find_ink(Levels(opaque(pixels)))
        plain = drawn(ink)
    except Exception:
        return failed("cannot canonicalize pixels of shape %s", pixels.shape)
    more: list[Canonical] = []
    try:
        more = others(ink, plain)
    except Exception:
        failed("cannot read pixels of shape %s otherwise", pixels.shape)  # the plain reading serves
    picture[:] = plain.picture  # last, since `pixels` may be this very picture
    return Reading(plain.warnings, plain.coarse, tuple(more), Origin.READ)


def _small_grey(pixels: np.ndarray) -> np.ndarray | None:
    """The pixels as [28, 28] if they are 28x28 and grey, of one channel or of three equal opaque ones; else None."""
    if pixels.shape == (SIDE, SIDE):
        return pixels
    if pixels.shape[:2] != (SIDE, SIDE):
        return None
    first = pixels[:, :, 0]
    same = (pixels[:, :, 1] == first).all() and (pixels[:, :, 2] == first).all()
    solid = pixels.shape[2] == 3 or (pixels[:, :, 3] == 255).all()
    return first if same and solid else None
