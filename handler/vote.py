"""Several readings of one image -> the one that the model, seeing them all in one batch, believes most.

pictures and the other readings of those in doubt -> logits of all -> each reading votes for its class, with a weight
that falls with its surprise, its distance from that class's digits, what was odd about it, and its doubt -> of the
class with most weight, its best reading; nothing, where a third of the readings found nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import verdict
from candidates import ODD
from canonical import Canonical
from decode import PictureError
from digit import CLASS_NAMES
from forward import Forward
from reading import Origin, Reading

MOST_REMOTE = 3.0  # a distance counts as it is, 1 at its limit, but no more than this ...
ODDNESS = 1.5  # ... a warning of ODD so much ...
SURPRISE = 2.5  # ... a negative log probability of 1 so much ...
RUNS_OFF = 1.0  # ... ink that runs off, in a reading other than the first, so much on top ...
PLAIN = 0.5  # ... and the first reading, of the image as it is, gets this bonus
EMPTY = 1 / 3  # of the readings; where so many are blank, the others saw nothing but lines

Outcomes = list[Reading | PictureError]


class Settled(NamedTuple):
    """For each readable image what won: pictures, uint8 [m, 28, 28]; outcomes; logits, float32 [m, 10]."""

    pictures: np.ndarray
    outcomes: Outcomes
    logits: np.ndarray


def settle(
    pictures: np.ndarray, outcomes: Outcomes, forward: Forward, limits: tuple[verdict.Limits, verdict.Limits] | None
) -> Settled:
    """The forward pass of what `reader.read` gave, with one reading left of each image.

    Args:
        pictures: uint8 [m, 28, 28], of the m readable images.
        outcomes: of each image, those that cannot be read included.
    """
    readable = [i for i, outcome in enumerate(outcomes) if isinstance(outcome, Reading)]
    readings = [outcome for outcome in outcomes if isinstance(outcome, Reading)]
    others = [other for reading in readings for other in reading.others]
    if not others:
        logits = forward(pictures) if len(pictures) else np.empty((0, len(CLASS_NAMES)), np.float32)
        return Settled(pictures, outcomes, logits)
    every = np.concatenate([pictures, np.stack([other.picture for other in others])])
    logits = forward(every)
    start = len(pictures)
    won, outcomes = np.arange(start), list(outcomes)
    for place, reading in enumerate(readings):
        if reading.others:
            rows = [place, *range(start, start + len(reading.others))]
            start += len(reading.others)
            candidates = [reading._replace(others=(), origin=Origin.CHOSEN)]
            candidates += [Reading(other.warnings, other.coarse, origin=Origin.CHOSEN) for other in reading.others]
            best = _best(logits[rows], every[rows], candidates, [_doubt(other) for other in reading.others], limits)
            won[place], outcomes[readable[place]] = rows[best], candidates[best]
    return Settled(every[won], outcomes, logits[won])


def _best(
    logits: np.ndarray,
    pictures: np.ndarray,
    readings: Sequence[Reading],
    doubts: Sequence[float],
    limits: tuple[verdict.Limits, verdict.Limits] | None,
) -> int:
    """Position of the winner among the readings of one image."""
    blank = np.array(["blank" in reading.warnings for reading in readings])
    if blank.mean() >= EMPTY:
        return int(blank.argmax())
    costs = SURPRISE * -np.log(verdict.strengths(logits)[1]) + ODDNESS * np.array([_odd(r) for r in readings])
    costs += [-PLAIN, *doubts]
    if limits:
        costs += np.minimum(verdict.remoteness(logits, pictures, readings, limits), MOST_REMOTE)
    weights = np.where(blank, 0, np.exp(-costs))
    classes = logits.argmax(axis=1)
    elected = np.bincount(classes, weights).argmax()
    return int(np.where(classes == elected, weights, -1).argmax())


def _doubt(other: Canonical) -> float:
    """Cost that a reading other than the first starts with."""
    return other.doubt + RUNS_OFF * ("cropped" in other.warnings)


def _odd(reading: Reading) -> bool:
    return not ODD.isdisjoint(reading.warnings)
