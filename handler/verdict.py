"""What to think of a prediction: `digit`, `uncertain` or `not_a_digit`, with warnings that say why.

guards on the reading and on the amount of ink -> how far the picture is from MNIST's digits of the predicted class,
energy, maximum probability -> the odds that it is a digit and rightly read, by logistic regression. Limits and weights
are learnt by `python -m train calibrate` and are in verdict.json beside this file.

Energy: W. Liu, X. Wang, J. Owens, Y. Li: Energy-based Out-of-distribution Detection, NeurIPS 2020. Maximum probability:
D. Hendrycks, K. Gimpel: A Baseline for Detecting Misclassified and Out-of-Distribution Examples, ICLR 2017. Distance
from a class: K. Lee, K. Lee, H. Lee, J. Shin: A Simple Unified Framework for Detecting Out-of-Distribution Samples and
Adversarial Attacks, NeurIPS 2018; here of plain measures of the picture instead of hidden features.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from reading import Origin, Reading

LIMITS = Path(__file__).with_name("verdict.json")
INKED = 100  # grey level from which a pixel counts as inked
TOO_MUCH_INK = 0.42  # mean grey level as a share of 255; the fattest of MNIST's 70,000 has 0.40
NEVER_A_DIGIT = {"blank", "cluttered", "several_shapes", "too_much_ink"}
DIGIT, NO_DIGIT = -0.4, -4.5  # logarithms of the odds over and under which the verdict is clear: 1 to 1.5, 1 to 90
MOST_AWAY = 12.0  # standard deviations; more says no more
EVIDENCE = 30  # columns: eleven measures with sign, eleven without, eight more


class Judgement(NamedTuple):
    """`verdict` is `digit`, `uncertain` or `not_a_digit`, None of a model that has no limits.

    `warnings` are the reading's and what was found here.
    """

    verdict: str | None
    warnings: tuple[str, ...]


class Limits(NamedTuple):
    """What validation taught.

    centre, precision: float64 [10, k] and [10, k, k], mean and inverse covariance of each class's measures.
    farthest: squared Mahalanobis distance beyond which a picture is unlike its class.
    weakest: least log-sum-exp of the logits (minus the energy).
    unsure: least maximum probability.
    weights, bias: float64 [EVIDENCE], of the evidence, and the odds' logarithm without any.
    """

    centre: np.ndarray
    precision: np.ndarray
    farthest: float
    weakest: float
    unsure: float
    weights: np.ndarray
    bias: float


def load(path: Path = LIMITS) -> tuple[Limits, Limits] | None:
    """Limits for pictures of fine and of coarse images; None where there is no such file."""
    if not path.exists():
        return None
    learnt = json.loads(path.read_text())
    return _limits(learnt["fine"]), _limits(learnt["coarse"])


def _limits(learnt: dict[str, Any]) -> Limits:
    limits: dict[str, Any] = {k: np.array(v) if isinstance(v, list) else v for k, v in learnt.items()}
    return Limits(**limits)


def judge(
    logits: np.ndarray, pictures: np.ndarray, readings: Sequence[Reading], limits: tuple[Limits, Limits] | None
) -> list[Judgement]:
    """Judgement of each of n predictions.

    Args:
        logits: float32 [n, 10].
        pictures: uint8 [n, 28, 28], what the model saw.
        readings: n of them.
        limits: what `load` gave.
    """
    if limits is None:
        return [Judgement(None, reading.warnings) for reading in readings]
    judgements: list[Judgement] = [Judgement("digit", ())] * len(readings)
    for coarse in (False, True):
        these = [i for i, reading in enumerate(readings) if reading.coarse is coarse]
        if these:
            found = _judged(logits[these], pictures[these], [readings[i] for i in these], limits[coarse])
            for i, judgement in zip(these, found, strict=True):
                judgements[i] = judgement
    return judgements


def _judged(
    logits: np.ndarray, pictures: np.ndarray, readings: Sequence[Reading], limits: Limits
) -> Iterator[Judgement]:
    """Judgements by the limits of one kind."""
    away, far = away_of(logits, pictures, limits)
    strength, surest = strengths(logits)
    flags = {
        "too_much_ink": pictures.mean(axis=(1, 2)) > TOO_MUCH_INK * 255,
        "unlike_a_digit": far > 1,
        "unfamiliar": strength < limits.weakest,
        "low_confidence": surest < limits.unsure,
    }
    odds = evidence(logits, away, far, readings) @ limits.weights + limits.bias
    for i, reading in enumerate(readings):
        warnings = (*reading.warnings, *(name for name, holds in flags.items() if holds[i]))
        if odds[i] < NO_DIGIT or not NEVER_A_DIGIT.isdisjoint(warnings):
            yield Judgement("not_a_digit", warnings)
        else:
            clear = odds[i] > DIGIT and "low_confidence" not in warnings
            yield Judgement("digit" if clear else "uncertain", warnings)


def remoteness(
    logits: np.ndarray, pictures: np.ndarray, readings: Sequence[Reading], limits: tuple[Limits, Limits]
) -> np.ndarray:
    """Squared distance of each picture from its predicted class, float64 [n], as a share of the farthest."""
    far = np.zeros(len(readings))
    coarse = np.array([reading.coarse for reading in readings], bool)
    for kind in (False, True):
        these = coarse == kind
        if these.any():
            far[these] = away_of(logits[these], pictures[these], limits[kind])[1]
    return far


def evidence(logits: np.ndarray, away: np.ndarray, far: np.ndarray, readings: Sequence[Reading]) -> np.ndarray:
    """What the odds that this is a digit, rightly read, are a weighted sum of: float64 [n, EVIDENCE].

    Args:
        away: float64 [n, k], the measures' differences from their class's means, in standard deviations.
        far: float64 [n], remoteness.
    """
    second, first = np.partition(logits.astype(np.float64), -2, axis=1)[:, -2:].T
    strength, surest = strengths(logits)
    away = away.clip(-MOST_AWAY, MOST_AWAY)
    columns = (
        np.log(far + 0.02),
        far.clip(max=6),
        first - second,
        np.log(1 - surest + 1e-4),
        strength,
        [reading.origin is Origin.OWN for reading in readings],
        [reading.origin is Origin.CHOSEN for reading in readings],
        ["cropped" in reading.warnings for reading in readings],
    )
    return np.hstack([away, np.abs(away), np.stack([np.asarray(column, np.float64) for column in columns], axis=1)])


def away_of(logits: np.ndarray, pictures: np.ndarray, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
    """Differences of the measures from their class's means, in standard deviations, and remoteness."""
    classes = logits.argmax(axis=1)
    away = measures(logits, pictures) - limits.centre[classes]
    deviations = np.sqrt(np.einsum("cii->ci", limits.precision))  # of each measure, the others given
    far = np.einsum("ni,nij,nj->n", away, limits.precision[classes], away) / limits.farthest
    return away * deviations[classes], far


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
