"""Accuracy, loss and calibration against cases worked out by hand and by scikit-learn."""

import pytest
import torch
from sklearn.metrics import log_loss

from train.measure import accuracy, calibration, calibration_error, cross_entropy, temperature_of


def logits_with(confidence: list[float], classes: int = 2) -> torch.Tensor:
    """Logits whose softmax gives class 0 these probabilities, the rest to class 1."""
    p = torch.tensor(confidence, dtype=torch.float64)
    return torch.stack([p, 1 - p], 1).log()


def test_perfectly_calibrated_bin_has_no_error():
    assert calibration_error(logits_with([0.75] * 4), torch.tensor([0, 0, 0, 1])) == pytest.approx(0)


def test_calibration_error_by_hand():
    logits = logits_with([0.9, 0.9, 0.6, 0.6])  # bins (0.867, 0.933] and (0.533, 0.6]
    labels = torch.tensor([0, 1, 0, 0])  # accuracies 0.5 and 1
    assert calibration_error(logits, labels) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
    bins = calibration(logits, labels)
    assert [round(b["confidence"], 6) for b in bins] == [0.6, 0.9]
    assert [b["share"] for b in bins] == [0.5, 0.5]


def test_accuracy_and_cross_entropy_agree_with_scikit_learn():
    torch.manual_seed(0)
    logits, labels = torch.randn(200, 10), torch.randint(10, (200,))
    assert accuracy(logits, labels) == (logits.numpy().argmax(1) == labels.numpy()).mean()
    probabilities = logits.double().softmax(1).numpy()
    assert cross_entropy(logits, labels) == pytest.approx(log_loss(labels, probabilities, labels=range(10)))


def test_temperature_undoes_a_factor():
    torch.manual_seed(0)
    logits = 3 * torch.randn(20_000, 10)
    labels = torch.distributions.Categorical(logits=logits).sample()
    assert temperature_of(1.4 * logits, labels) == pytest.approx(1.4, abs=0.05)
