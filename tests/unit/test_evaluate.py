"""The published numbers: they are those of the served weights, and every document shows the same ones."""

import hashlib
import json
from argparse import Namespace

import numpy as np
import pytest
import torch

from lenet import LeNet
from train import evaluate, mnist, own_model, tables
from train.measure import accuracy, cross_entropy, logits_of
from train.recipe import SEEDS

METRICS = json.loads(evaluate.METRICS.read_text())


@pytest.fixture(scope="module")
def test_digits():
    return mnist.load()[2]


def test_metrics_are_of_the_served_weights():
    assert METRICS["sha256"] == hashlib.sha256(evaluate.WEIGHTS.read_bytes()).hexdigest()
    assert METRICS["parameters"] == 44_426


def test_served_weights_are_the_seed_with_the_best_validation_loss():
    runs = METRICS["seeds"]["runs"]
    assert [run["seed"] for run in runs] == list(SEEDS)
    best = min(runs, key=lambda run: run["validation_loss"])
    assert best["sha256"] == METRICS["sha256"]
    assert best["seed"] == METRICS["seed"]


def test_accuracy_and_loss_are_measured_again(test_digits):
    logits = logits_of(evaluate.load(evaluate.WEIGHTS), test_digits.pictures)
    published = METRICS["splits"]["test"]
    assert accuracy(logits, test_digits.labels) == pytest.approx(published["accuracy"], abs=1e-4)
    assert cross_entropy(logits, test_digits.labels) == pytest.approx(published["loss"], abs=1e-5)


def test_targets_are_met():
    assert METRICS["splits"]["test"]["accuracy"] >= 0.9955
    assert METRICS["splits"]["test"]["loss"] <= 0.0125
    assert METRICS["test"]["calibration_error"] <= 0.002
    assert METRICS["seeds"]["test_accuracy"]["mean"] >= 0.9958


def test_mistakes_confusion_and_accuracy_agree():
    test = METRICS["test"]
    counts = np.array(test["confusion"])
    wrong = counts.sum() - counts.trace()
    assert counts.sum() == METRICS["splits"]["test"]["n"] == 10_000
    assert len(test["mistakes"]) == wrong == round(10_000 * (1 - METRICS["splits"]["test"]["accuracy"]))
    assert test["interval"][0] < METRICS["splits"]["test"]["accuracy"] < test["interval"][1]
    assert np.sum(METRICS["first_validation_batch"]["confusion"]) == 64


SECTIONS = list(tables.sections(METRICS, evaluate.ROOT))


@pytest.mark.parametrize(("path", "section", "text"), SECTIONS, ids=[f"{p.name}-{s}" for p, s, _ in SECTIONS])
def test_documents_show_what_metrics_say(path, section, text):
    assert tables.read(path, section) == text


def test_figures_are_there():
    for name in ("confusion-test", "confusion-batch", "reliability", "curves", "mistakes", "augmentation"):
        content = (evaluate.FIGURES / f"{name}.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) < 2**20


def test_fill_replaces_only_its_section(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nbetween\n<!-- b -->\nkept\n<!-- /b -->\n")
    tables.fill(path, "a", "| new |\n")
    assert path.read_text() == "before\n<!-- a -->\n| new |\n<!-- /a -->\nbetween\n<!-- b -->\nkept\n<!-- /b -->\n"
    assert tables.read(path, "b") == "kept\n"
    with pytest.raises(ValueError, match="no section <!-- c -->"):
        tables.read(path, "c")


def test_interval_by_hand():
    logits = torch.zeros(100, 2)
    logits[:, 0] = 1
    labels = torch.zeros(100, dtype=torch.int64)
    labels[:10] = 1  # 90 of 100: Wilson gives 0.8256 to 0.9448
    assert evaluate.interval(logits, labels) == pytest.approx((0.8256, 0.9448), abs=1e-4)


def test_missing_weights_are_one_plain_line(tmp_path, capsys):
    args = Namespace(weights=tmp_path / "none.pt", data=mnist.ROOT, print=True, model=own_model.MNIST)
    assert evaluate.run(args) == 1
    assert capsys.readouterr().out.startswith("error: ")


def test_untrained_weights_measure_badly(test_digits):
    """The measurement can fail: it isn't the data that makes everything right."""
    torch.manual_seed(0)
    assert accuracy(logits_of(LeNet(), test_digits.pictures), test_digits.labels) < 0.4
