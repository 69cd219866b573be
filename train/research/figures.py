"""Metrics -> the figures in docs/figures/: confusion, reliability, training curves, mistakes, augmentation."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from digit import CLASS_NAMES, SIDE, SYMBOLS
from train.augment import Distortion, augment
from train.measure import BINS
from train.mnist import Digits
from train.recipe import FULL

INK = "#20508c"
WARM = "#d2691e"
EACH = 9  # distorted copies of a digit in the figure of the augmentation
PER_ROW = 12  # mistakes in a row of their gallery ...
MOST = 120  # ... and in all


def draw(folder: Path, metrics: dict, splits: dict[str, Digits], test_logits: Tensor, record: dict) -> None:
    """Write every figure as PNG into the folder."""
    test, batch = metrics["test"], metrics["first_validation_batch"]
    n, accuracy = metrics["splits"]["test"]["n"], metrics["splits"]["test"]["accuracy"]
    drawn = {
        "confusion-test": confusion(test["confusion"], f"Test set: {n:,} pictures, {accuracy:.2%} right"),
        "confusion-batch": confusion(batch["confusion"], f"First validation batch: {batch['size']} pictures"),
        "reliability": reliability(test["calibration"], test["calibration_error"]),
        "curves": curves(record),
        "mistakes": mistakes(splits["test"], test["mistakes"]),
        "augmentation": augmentation(splits["train"], FULL.student.distortion),
    }
    for name, figure in drawn.items():
        figure.savefig(folder / f"{name}.png", dpi=110, metadata={"Software": None})
        plt.close(figure)


def confusion(counts: list[list[int]], title: str) -> Figure:
    """True class by row, predicted class by column; the colour shows the share of the row, so that errors are seen."""
    matrix = np.array(counts)
    share = matrix / matrix.sum(axis=1, keepdims=True).clip(1)
    figure, axes = plt.subplots(figsize=(7.5, 7), layout="constrained")
    axes.imshow(share**0.3, cmap="Blues", vmin=0, vmax=1.15)
    for row, column in np.ndindex(matrix.shape):
        if matrix[row, column]:
            colour = "white" if share[row, column] > 0.3 else "black"
            axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour, fontsize=10)
    axes.set_xticks(range(len(CLASS_NAMES)), CLASS_NAMES, rotation=45)
    axes.set_yticks(range(len(CLASS_NAMES)), CLASS_NAMES)
    axes.set(title=title, xlabel="predicted class", ylabel="true class")
    return figure


def reliability(bins: list[dict], error: float) -> Figure:
    """Accuracy against confidence, above the share of the pictures in each bin (logarithmic: most are near 1)."""
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(6.5, 7), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    middle = [(b["from"] + b["to"]) / 2 for b in bins]
    above.plot([0, 1], [0, 1], color="grey", linestyle="--", label="perfectly calibrated")
    above.plot([b["confidence"] for b in bins], [b["accuracy"] for b in bins], "o-", color=INK, label="test set")
    above.set(title=f"Reliability on the test set: expected calibration error {error:.2%} ({BINS} bins)",
              ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))  # fmt: skip
    above.legend(loc="upper left")
    below.bar(middle, [b["share"] for b in bins], width=0.9 / BINS, color=INK)
    below.set(xlabel="confidence (probability of the predicted class)", ylabel="share of pictures", yscale="log")
    return figure


def curves(record: dict) -> Figure:
    """Losses and validation accuracy by epoch, from the record beside the weights."""
    history = record["history"]
    epochs = [e["epoch"] for e in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    _curve(
        left,
        epochs,
        [e["train_loss"] for e in history],
        "training objective, distorted pictures",
        WARM,
    )
    _curve(left, epochs, [e["validation_loss"] for e in history], "validation cross-entropy, plain pictures", INK)
    left.set(title="Loss by epoch", xlabel="epoch", ylabel="loss (nats)", yscale="log")
    left.legend()
    _curve(right, epochs, [100 * e["validation_accuracy"] for e in history], "validation", INK)
    right.set(title="Accuracy by epoch, averaged weights", xlabel="epoch", ylabel="accuracy (%)", ylim=(None, 100))
    right.legend(loc="lower right")
    return figure


def _curve(axes: Axes, x: list, y: list, label: str, colour: str) -> None:
    axes.plot(x, y, color=colour, label=label)
    axes.grid(alpha=0.3)


def mistakes(test: Digits, wrong: list[dict]) -> Figure:
    """Up to MOST wrongly classified test pictures with their true and predicted classes, the surest mistake first."""
    rows = max(-(-min(len(wrong), MOST) // PER_ROW), 1)
    figure, grid = plt.subplots(rows, PER_ROW, figsize=(PER_ROW, 1.5 * rows + 0.6), layout="constrained", squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, mistake in zip(grid.flat, wrong, strict=False):
        axes.imshow(test.pictures[mistake["index"]], cmap="gray_r")
        axes.set_title(
            f"{SYMBOLS[mistake['true']]}\nread as {SYMBOLS[mistake['predicted']]}\n{mistake['probability']:.0%}",
            fontsize=7,
        )
    shown = f"All {len(wrong)}" if len(wrong) <= MOST else f"The surest {MOST} of {len(wrong)}"
    figure.suptitle(f"{shown} mistakes on the test set: true class, predicted class, its probability")
    return figure


def augmentation(train: Digits, distortion: Distortion) -> Figure:
    """One training picture of each class, and what training makes of it."""
    firsts = [int((train.labels == label).nonzero()[0, 0]) for label in range(len(CLASS_NAMES))]
    plain = train.pictures[firsts]
    copies = augment(plain.repeat(EACH, 1, 1), distortion, torch.Generator().manual_seed(0)).reshape(
        EACH, -1, SIDE, SIDE
    )
    figure, grid = plt.subplots(
        len(firsts), EACH + 1, figsize=(EACH + 1, len(firsts) + 0.6), layout="constrained", squeeze=False
    )
    for row, column in np.ndindex(grid.shape):
        axes = grid[row, column]
        axes.imshow(copies[column - 1, row] if column else plain[row], cmap="gray_r", vmin=0, vmax=255)
        axes.axis("off")
    grid[0, 0].set_title("original", fontsize=10)
    figure.suptitle("A training picture of each class (left) and what augmentation makes of it")
    return figure
