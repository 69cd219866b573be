"""Verdicts: limits that belong to the committed weights; digits pass, what is none is flagged."""

import hashlib
import json

import cv2
import numpy as np
import pytest

import verdict
from reader import Reading, read
from train.calibrate import choose, spread
from train.own_model import WEIGHTS
from train.research import uploads
from train.research.robustness import Served


@pytest.fixture(scope="module")
def serve() -> Served:
    return Served(WEIGHTS)


def verdicts(serve: Served, pictures: np.ndarray, make=uploads.plain) -> list[str]:
    return serve(list(make(pictures, np.random.default_rng(0))))[2]


def test_the_limits_were_learnt_from_the_committed_weights():
    learnt = json.loads(verdict.LIMITS.read_text())
    assert learnt["weights_sha256"] == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest(), (
        "run `python -m train calibrate`"
    )
    fine, coarse = learnt["validation_flagged"]
    assert fine <= 0.007
    assert coarse <= 0.06


def test_sample_digits_are_digits(serve, samples):
    assert verdicts(serve, samples).count("digit") >= 9
    assert verdicts(serve, samples, uploads.enlarged(5)).count("digit") >= 8


@pytest.mark.parametrize("side", [12, 16, 20, 24, 28])
def test_sample_digits_are_digits_however_small(serve, samples, side):
    small = [cv2.resize(sample, (side, side), interpolation=cv2.INTER_AREA) for sample in samples]
    assert serve([uploads.png(255 - picture) for picture in small])[2].count("digit") >= 7


def test_nothing_is_not_a_digit(serve):
    found = verdicts(serve, np.zeros((60, 28, 28), np.uint8), uploads.nothing)
    assert "digit" not in found
    assert found.count("not_a_digit") > 50


def test_clothes_are_flagged(serve):
    if not uploads.FASHION.exists():
        pytest.skip("dataset-fashion-mnist is not installed")
    found = verdicts(serve, uploads.fashion()[:500])
    assert found.count("digit") <= 25


def test_two_digits_are_not_a_digit(serve, samples):
    two = np.hstack([samples[3], samples[8]])
    assert serve([uploads.png(two)])[2] == ["not_a_digit"]


def test_judgements_keep_the_readings_warnings_and_their_order(samples):
    images = [uploads.png(255 - samples[1]), uploads.png(samples[2]), uploads.png(cv2.resize(samples[3], (12, 12)))]
    pictures, readings = read(images)
    assert [reading.coarse for reading in readings] == [False, False, True]
    logits = np.eye(10, dtype=np.float32)[[1, 2, 3]] * 30
    found = verdict.judge(logits, pictures, readings, verdict.load())
    assert "inverted" in found[0].warnings
    assert "inverted" not in found[1].warnings
    assert verdict.judge(logits[:0], pictures[:0], [], verdict.load()) == []


def test_an_unsure_prediction_is_uncertain(samples):
    pictures = samples[:1]
    logits = np.full((1, 10), 15, np.float32)
    judgement = verdict.judge(logits, pictures, [Reading()], verdict.load())[0]
    assert judgement.verdict != "digit"
    assert "low_confidence" in judgement.warnings


def test_strengths():
    strength, surest = verdict.strengths(np.array([[0.0, 0.0], [np.log(3.0), 0.0]]))
    assert strength == pytest.approx([np.log(2), np.log(4)])
    assert surest == pytest.approx([0.5, 0.75])


def test_chosen_limits_flag_the_share_they_may():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2000, 28, 28), dtype=np.uint8)
    labels = rng.integers(0, 10, 2000)
    logits = rng.normal(0, 1, (2000, 10)).astype(np.float32)
    logits[np.arange(2000), labels] += 9
    centre, precision = spread(logits, pictures, labels)
    limits = choose(logits, pictures, centre, precision)
    judgements = verdict.judge(logits, pictures // 3, [Reading()] * 2000, (limits, limits))
    far = verdict.distances(logits, pictures, centre, precision) > limits.farthest
    strength, surest = verdict.strengths(logits)
    flagged = (far | (strength < limits.weakest) | (surest < limits.unsure)).mean()
    assert 0.004 < flagged <= 0.007
    assert len(judgements) == 2000


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    folder = WEIGHTS.parent.parent.parent / "samples"
    return np.stack([cv2.imread(str(folder / f"{label}.png"), cv2.IMREAD_GRAYSCALE) for label in range(10)])
