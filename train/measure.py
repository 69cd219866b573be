"""Logits and labels -> accuracy, cross-entropy, calibration: what training, evaluation and ablation measure with."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digit import MEAN, STD

BATCH = 500
BINS = 15  # of the calibration error


def pixels_of(pictures: Tensor) -> Tensor:
    """Normalized pixels, float32 [..., 1, 28, 28], of pictures, uint8 [..., 28, 28]."""
    return pictures.unsqueeze(-3).float().div_(255).sub_(MEAN).div_(STD)


@torch.inference_mode()
def logits_of(net: nn.Module, pictures: Tensor) -> Tensor:
    """Logits, float32 [n, 10] on the CPU, of pictures, uint8 [n, 28, 28]; the net is left in evaluation mode."""
    net.eval()
    device = next(net.parameters()).device
    return torch.cat([net(pixels_of(batch.to(device))).float() for batch in pictures.split(BATCH)]).cpu()


def accuracy(logits: Tensor, labels: Tensor) -> float:
    return (logits.argmax(1) == labels).double().mean().item()


def cross_entropy(logits: Tensor, labels: Tensor) -> float:
    """Mean negative log-likelihood in nats."""
    return F.cross_entropy(logits.double(), labels).item()


def calibration(logits: Tensor, labels: Tensor) -> list[dict[str, float]]:
    """The bins of the reliability diagram: share of the pictures, mean confidence and accuracy of each that has any.

    Fifteen bins of equal width over the probability of the predicted class: C. Guo, G. Pleiss, Y. Sun,
    K. Q. Weinberger: On Calibration of Modern Neural Networks, ICML 2017.
    """
    confidence, predicted = logits.double().softmax(1).max(1)
    right = (predicted == labels).double()
    which = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    return [
        {
            "from": bin_ / BINS,
            "to": (bin_ + 1) / BINS,
            "share": (which == bin_).double().mean().item(),
            "confidence": confidence[which == bin_].mean().item(),
            "accuracy": right[which == bin_].mean().item(),
        }
        for bin_ in range(BINS)
        if (which == bin_).any()
    ]


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over the bins, weighted by their shares."""
    return sum(b["share"] * abs(b["confidence"] - b["accuracy"]) for b in calibration(logits, labels))


def temperature_of(logits: Tensor, labels: Tensor) -> float:
    """The temperature that minimizes the cross-entropy of logits / temperature (Guo et al. 2017)."""
    candidates = torch.linspace(0.5, 2, 301, dtype=torch.float64).tolist()
    return min(candidates, key=lambda temperature: cross_entropy(logits / temperature, labels))
