"""What to think of a prediction: `digit`, `uncertain` or `not_a_digit`, with warnings that say why.

guards on the reading and on the amount of ink -> how far the picture is from MNIST's digits of the predicted class
-> energy and maximum probability. The limits are learnt on validation by `python -m train calibrate` and travel in
verdict.json beside this file.

Energy: W. Liu, X. Wang, J. Owens, Y. Li: Energy-based Out-of-distribution Detection, NeurIPS 2020. Maximum probability:
D. Hendrycks, K. Gimpel: A Baseline for Detecting Misclassified and Out-of-Distribution Examples, ICLR 2017. Distance
from a class: K. Lee, K. Lee, H. Lee, J. Shin: A Simple Unified Framework for Detecting Out-of-Distribution Samples and
Adversarial Attacks, NeurIPS 2018; here of plain measures of the picture instead of hidden features.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from reader import Reading

LIMITS = Path(__file__).with_name("verdict.json")
INKED = 100  # grey level from which a pixel counts as inked
TOO_MUCH_INK = 0.42  # mean grey level as a share of 255; the fattest of MNIST's 70,000 has 0.40
NEVER_A_DIGIT = {"blank", "cluttered", "several_shapes", "too_much_ink"}
VERY_FAR = 2.0  # of the farthest squared distance
CONTESTED = 0.6  # of it, for the nearest of several readings


class Judgement(NamedTuple):
    """`verdict` is `digit`, `uncertain` or `not_a_digit`; `warnings` are the reading's and what was found here."""

    verdict: str
    warnings: tuple[str, ...]


class Limits(NamedTuple):
    """What validation taught.

    centre, precision: float64 [10, k] and [10, k, k], mean and inverse covariance of each class's measures.
    farthest: squared Mahalanobis distance beyond which a picture is unlike its class.
    weakest: least log-sum-exp of the logits (minus the energy).
    unsure: least maximum probability.
    """

    centre: np.ndarray
    precision: np.ndarray
    farthest: float
    weakest: float
    unsure: float


def load(path: Path = LIMITS) -> tuple[Limits, Limits]:
    """Limits for pictures of fine and of coarse images."""
    learnt = json.loads(path.read_text())
    return _limits(learnt["fine"]), _limits(learnt["coarse"])


def _limits(learnt: dict[str, Any]) -> Limits:
    limits: dict[str, Any] = {k: np.array(v) if isinstance(v, list) else v for k, v in learnt.items()}
    return Limits(**limits)


def judge(
    logits: np.ndarray, pictures: np.ndarray, readings: Sequence[Reading], limits: tuple[Limits, Limits]
) -> list[Judgement]:
    """Judgement of each of n predictions.

    Args:
        logits: float32 [n, 10].
        pictures: uint8 [n, 28, 28], what the model saw.
        readings: n of them.
        limits: what `load` gave.
    """
    judgements: list[Judgement] = [Judgement("digit", ())] * len(readings)
    for coarse in (False, True):
        these = [i for i, reading in enumerate(readings) if reading.coarse is coarse]
        nearer = np.array([CONTESTED if readings[i].contested else 1.0 for i in these])
        found = _flags(logits[these], pictures[these], limits[coarse], nearer) if these else ()
        for i, flags in zip(these, found, strict=True):
            judgements[i] = _judgement(readings[i], *flags)
    return judgements


def remoteness(
    logits: np.ndarray, pictures: np.ndarray, readings: Sequence[Reading], limits: tuple[Limits, Limits]
) -> np.ndarray:
    """Squared distance of each picture from its predicted class, float64 [n], as a share of the farthest."""
    far = np.zeros(len(readings))
    coarse = np.array([reading.coarse for reading in readings], bool)
    for kind in (False, True):
        these = coarse == kind
        if these.any():
            of = limits[kind]
            far[these] = distances(logits[these], pictures[these], of.centre, of.precision) / of.farthest
    return far


def _flags(logits: np.ndarray, pictures: np.ndarray, limits: Limits, nearer: np.ndarray) -> Iterable[tuple[bool, ...]]:
    """For each prediction: too much ink, far from its class, very far, weak, unsure.

    Args:
        nearer: what of the farthest distance each may have, float64 [n].
    """
    far = distances(logits, pictures, limits.centre, limits.precision) / limits.farthest
    strength, surest = strengths(logits)
    too_much = pictures.mean(axis=(1, 2)) > TOO_MUCH_INK * 255
    return zip(too_much, far > nearer, far > VERY_FAR, strength < limits.weakest, surest < limits.unsure, strict=True)


def _judgement(reading: Reading, too_much: bool, far: bool, very_far: bool, weak: bool, unsure: bool) -> Judgement:
    named = {"too_much_ink": too_much, "unlike_a_digit": far, "unfamiliar": weak, "low_confidence": unsure}
    warnings = (*reading.warnings, *(name for name, is_so in named.items() if is_so))
    if very_far or (far and weak) or not NEVER_A_DIGIT.isdisjoint(warnings):
        return Judgement("not_a_digit", warnings)
    doubtful = reading.contested and "cropped" in reading.warnings
    return Judgement("uncertain" if far or weak or unsure or doubtful else "digit", warnings)


def strengths(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-sum-exp of the logits (minus the energy) and maximum probability, float [n] each."""
    top = logits.max(axis=1)
    raised = np.exp(logits - top[:, None]).sum(axis=1)
    return top + np.log(raised), 1 / raised


def distances(logits: np.ndarray, pictures: np.ndarray, centre: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis distance, float64 [n], of each picture's measures from those of its predicted class."""
    classes = logits.argmax(axis=1)
    away = measures(logits, pictures) - centre[classes]
    return np.einsum("ni,nij,nj->n", away, precision[classes], away)


def measures(logits: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Plain measures of pictures, float64 [n, k]: strength, ink, greys, thickness, roughness, extent, symmetry."""
    grey = pictures.astype(np.float32) / 255
    inked = pictures > INKED
    total = np.maximum(grey.sum(axis=(1, 2)), 1)
    faint = pictures > INKED // 2
    inside = _eroded(faint, 3) & (pictures[:, 1:-1, 1:-1] < 190)
    middling = (pictures > 64) & (pictures < 192)
    height, width = faint.any(axis=2).sum(axis=1), faint.any(axis=1).sum(axis=1)
    rough = np.abs(np.diff(grey, axis=2)).sum(axis=(1, 2)) + np.abs(np.diff(grey, axis=1)).sum(axis=(1, 2))
    area = np.maximum(faint.sum(axis=(1, 2)), 1)
    columns = (
        strengths(logits)[0],
        np.sqrt(total),
        middling.sum(axis=(1, 2)) / area,
        np.sqrt(inside.sum(axis=(1, 2)) / area),
        np.sqrt(_eroded(inked, 3).sum(axis=(1, 2))),
        np.sqrt(_eroded(inked, 5).sum(axis=(1, 2))),
        rough / total,
        area / np.maximum(height * width, 1),
        width,
        height,
        np.abs(grey - grey[:, :, ::-1]).sum(axis=(1, 2)) / total,
    )
    return np.stack([np.asarray(column, np.float64) for column in columns], axis=1)


def _eroded(mask: np.ndarray, side: int) -> np.ndarray:
    """Where a square of `side` pixels fits into the mask, bool [n, 28 - side + 1, 28 - side + 1]."""
    for axis in (1, 2):
        span = mask.shape[axis] - side + 1
        shifted = (mask[:, i : i + span] if axis == 1 else mask[:, :, i : i + span] for i in range(side))
        mask = np.logical_and.reduce(list(shifted))
    return mask
