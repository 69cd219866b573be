"""Learn the verdict's limits on validation: weights -> handler/verdict.json.

training pictures -> mean and spread of each class's measures; validation pictures -> the limits that together flag
FALSE_FLAGS of them; digits in other styles, and what is no digit -> the weights of evidence, by logistic regression.
The test set is not looked at.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import verdict
import vote
from digit import CLASS_NAMES
from lenet import LeNet
from reader import Origin, Reading, read
from train import habits, mnist
from train.measure import logits_of
from train.own_model import WEIGHTS
from train.research.non_digits import NON_DIGITS, clothes
from train.research.photo import photograph
from train.research.styles import STYLES, plain
from train.research.uploads import png

FALSE_FLAGS = 0.007  # share of validation that may be flagged by all limits together
# Of the false flags, what each limit may spend; chosen on 10,000 training pictures of Fashion-MNIST, 97.5 % flagged.
SHARES = {"farthest": 0.8, "weakest": 0.15, "unsure": 0.05}
COARSE_SAMPLE = 15_000  # pictures; enough for a covariance of eleven measures
OF_A_KIND = 3_000  # images of each style and of each kind of non-digit
FEWEST = 20  # of a kind; fewer do not count as much as a whole kind
OWN = 2.5  # how many kinds MNIST's own pictures count as; so do clothes, the only non-digits that are not drawn
STRENGTH = 0.3  # inverse of the regression's regularization
RIDGE = 1e-3  # of each measure's variance, added to the covariance


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", type=Path, default=WEIGHTS, metavar="FILE",
                        help="state dict to calibrate (default: train/weights/mnist-classifier.pt)")  # fmt: skip
    parser.add_argument("--output", type=Path, default=verdict.LIMITS, metavar="FILE",
                        help="where the limits go (default: handler/verdict.json)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    net = LeNet()
    net.load_state_dict(torch.load(args.weights, map_location="cpu", weights_only=True))
    train, validation, _ = mnist.load()
    limits = weighed(net, tuple(learn(net, of(train), of(validation)) for of in (as_they_are, coarsened)), train)
    shares = [flagged(net, of(validation)[0], limits, coarse) for coarse, of in enumerate((as_they_are, coarsened))]
    learnt = {
        "command": "python -m train calibrate",
        "weights_sha256": hashlib.sha256(args.weights.read_bytes()).hexdigest(),
        "validation_flagged": shares,
    } | {kind: {name: _plain(value) for name, value in of._asdict().items()}
         for kind, of in zip(("fine", "coarse"), limits, strict=True)}  # fmt: skip
    args.output.write_text(json.dumps(learnt) + "\n")
    print(f"{args.output}: flags {shares[0]:.2%} of validation, {shares[1]:.2%} of it made coarse")
    return 0


Labelled = tuple[np.ndarray, np.ndarray]  # pictures uint8 [n, 28, 28], labels int64 [n]


def as_they_are(digits: mnist.Digits) -> Labelled:
    return digits.pictures.numpy(), digits.labels.numpy()


def coarsened(digits: mnist.Digits) -> Labelled:
    """Up to COARSE_SAMPLE of the digits, as they are read from images in which they are 6 to 19 pixels tall."""
    rng = np.random.default_rng(0)
    images = []
    for picture in digits.pictures[:COARSE_SAMPLE].numpy():
        side = int(rng.integers(9, 28))
        small = 255 - cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        images.append(cv2.imencode(".png", small)[1].tobytes())
    return read(images)[0], digits.labels[:COARSE_SAMPLE].numpy()


def learn(net: LeNet, train: Labelled, validation: Labelled) -> verdict.Limits:
    """Spread from the training pictures, limits from the validation pictures."""
    centre, precision = spread(_logits(net, train[0]), *train)
    return choose(_logits(net, validation[0]), validation[0], centre, precision)


def _logits(net: LeNet, pictures: np.ndarray) -> np.ndarray:
    return logits_of(net, torch.from_numpy(pictures)).numpy()


def spread(logits: np.ndarray, pictures: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [10, k] and inverse covariance [10, k, k] of the measures of each class's rightly classified pictures."""
    measured, right = verdict.measures(logits, pictures), logits.argmax(axis=1) == labels
    centre, precision = [], []
    for label in range(len(CLASS_NAMES)):
        own = measured[right & (labels == label)]
        covariance = np.cov(own.T)
        centre.append(own.mean(axis=0))
        precision.append(np.linalg.inv(covariance + RIDGE * np.diag(np.diag(covariance) + RIDGE)))
    return np.array(centre), np.array(precision)


def choose(logits: np.ndarray, pictures: np.ndarray, centre: np.ndarray, precision: np.ndarray) -> verdict.Limits:
    """The limits at which FALSE_FLAGS of these pictures are flagged, spent on each as SHARES says.

    Limits overlap, so all three are let out together until the whole is spent.
    """
    far = verdict.distances(logits, pictures, centre, precision)
    strength, surest = verdict.strengths(logits)

    def at(share: float) -> verdict.Limits:
        part = {name: np.clip(share * weight, 0, 1) for name, weight in SHARES.items()}
        return verdict.Limits(
            centre,
            precision,
            float(np.quantile(far, 1 - part["farthest"])),
            float(np.quantile(strength, part["weakest"])),
            float(np.quantile(surest, part["unsure"])),
            np.zeros(verdict.EVIDENCE),
            0.0,
        )

    def spent(limits: verdict.Limits) -> float:
        return float(((far > limits.farthest) | (strength < limits.weakest) | (surest < limits.unsure)).mean())

    shares = np.linspace(FALSE_FLAGS / 2, 3 * FALSE_FLAGS, 200)
    return at(max((share for share in shares if spent(at(share)) <= FALSE_FLAGS), default=shares[0]))


Both = tuple[verdict.Limits, verdict.Limits]


def weighed(net: LeNet, limits: Both, train: mnist.Digits) -> Both:
    """The limits with weights learnt from images of digits and of what is none: right predictions against the rest."""
    rng = np.random.default_rng(0)
    found = [(*_evidence(net, limits, images, labels), counts) for images, labels, counts in _images(train, rng)]
    of_kind = []
    for coarse in (False, True):
        part = [(evidence[kind == coarse], right[kind == coarse], counts) for evidence, right, kind, counts in found]
        of_kind.append(limits[coarse]._replace(**_regression(part)))
    return of_kind[0], of_kind[1]


def _images(train: mnist.Digits, rng: np.random.Generator) -> Iterator[tuple[list[bytes], np.ndarray, float]]:
    """Encoded images of each kind; labels, -1 of what is no digit; how many kinds it counts as."""
    written = habits.write(train.pictures, train.labels, habits.SHARES, torch.Generator().manual_seed(0))
    pictures, labels = written.numpy(), train.labels.numpy()
    for style in STYLES:
        chosen = rng.choice(len(pictures), OF_A_KIND, replace=False)
        yield [png(style(pictures[i], rng)) for i in chosen], labels[chosen], OWN if style is plain else 1
    chosen = rng.choice(len(pictures), OF_A_KIND // 2, replace=False)
    yield [photograph(pictures[i], rng) for i in chosen], labels[chosen], 1
    for kind in NON_DIGITS:
        chosen = rng.choice(len(pictures), OF_A_KIND, replace=False)
        images = [png(image) for image in kind(pictures[chosen], rng)]
        yield images, np.full(OF_A_KIND, -1), OWN if kind is clothes else 1


def _evidence(net: LeNet, limits: Both, images: list[bytes], labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Evidence [n, EVIDENCE], whether the prediction is right, whether the image is coarse; of what may be a digit."""
    pictures, outcomes, logits = vote.settle(*read(images), lambda some: _logits(net, some), limits)
    readings = [outcome for outcome in outcomes if isinstance(outcome, Reading)]
    coarse = np.array([reading.coarse for reading in readings])
    evidence = np.zeros((len(readings), verdict.EVIDENCE))
    for kind in (False, True):
        these = np.flatnonzero(coarse == kind)
        if not these.size:
            continue
        away, far = verdict.away_of(logits[these], pictures[these], limits[kind])
        evidence[these] = verdict.evidence(logits[these], away, far, [readings[i] for i in these])
    possible = np.array([verdict.NEVER_A_DIGIT.isdisjoint(reading.warnings) for reading in readings])
    return evidence[possible], (logits.argmax(axis=1) == labels)[possible], coarse[possible]


def _regression(kinds: Sequence[tuple[np.ndarray, np.ndarray, float]]) -> dict[str, np.ndarray | float]:
    """Weights and bias. A kind counts by its number, not by how many of its images may be digits."""
    evidence, right = (np.concatenate([kind[i] for kind in kinds]) for i in (0, 1))
    each = np.concatenate([np.full(len(part), counts / max(len(part), FEWEST)) for part, _, counts in kinds])
    scaler = StandardScaler().fit(evidence)
    model = LogisticRegression(C=STRENGTH, max_iter=2000).fit(
        scaler.transform(evidence), right, sample_weight=each * OF_A_KIND
    )
    weights = model.coef_[0] / scaler.scale_
    return {"weights": weights, "bias": float(model.intercept_[0] - weights @ scaler.mean_)}


def flagged(net: LeNet, pictures: np.ndarray, limits: Sequence[verdict.Limits], coarse: int) -> float:
    """Share of MNIST's `pictures` whose verdict is not `digit`."""
    readings = [Reading(coarse=bool(coarse), origin=Origin.READ if coarse else Origin.OWN)] * len(pictures)
    judgements = verdict.judge(_logits(net, pictures), pictures, readings, tuple(limits))
    return float(np.mean([judgement.verdict != "digit" for judgement in judgements]))


def _plain(value: np.ndarray | float) -> list | float:
    """Numbers as JSON has them, six digits each."""
    if isinstance(value, np.ndarray):
        return [_plain(part) for part in value]
    return float(f"{value:.6g}")
