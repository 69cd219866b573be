"""The figure of the robustness table: of each row what was sent, what the model saw of it, how much was right."""

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import matplotlib.pyplot as plt
import numpy as np

from decode import decode

if TYPE_CHECKING:
    from train.research.rows import Row

TILE = 48  # pixels; side of an example
GOOD, SHORT, FREE = "#20508c", "#c03028", "#8c98a8"


def draw(rows: "list[Row]", path: Path) -> None:
    """Write the figure as PNG."""
    figure, axes = plt.subplots(
        len(rows), 2, figsize=(13, 0.62 * len(rows) + 1), width_ratios=(3, 1.1), layout="constrained"
    )
    for row, (left, right) in zip(rows, axes, strict=True):
        left.imshow(_strip(row), aspect="equal", interpolation="nearest")
        left.set_ylabel(f"{row.group}\n{row.name}", rotation=0, ha="right", va="center", fontsize=7.5)
        left.set(xticks=[], yticks=[])
        _bar(right, row)
    axes[0, 0].set_title("as sent (above), as the model saw it (below)", fontsize=10)
    axes[0, 1].set_title("share right or flagged; line: what it must be", fontsize=10)
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def _bar(axes: plt.Axes, row: "Row") -> None:
    colour = {True: GOOD, False: SHORT, None: FREE}[row.holds]
    axes.barh([0], [row.value], color=colour, height=0.5)
    axes.text(min(row.value + 0.02, 1.02), 0, f"{row.value:.2%}", va="center", fontsize=8)
    if row.must is not None:
        axes.axvline(row.must, color="black", linewidth=1)
    axes.set(xlim=(0, 1.22), ylim=(-0.5, 0.5), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _strip(row: "Row") -> np.ndarray:
    """Examples side by side, uint8 [2 * TILE, k * TILE, 3]."""
    pairs = [np.vstack([_tile(decode(sent).pixels), _tile(seen)]) for sent, seen in row.examples]
    return np.hstack(pairs)


def _tile(pixels: np.ndarray) -> np.ndarray:
    """`pixels` fitted into a square on light blue, which also shows through where they are transparent."""
    tile = np.full((TILE, TILE, 3), (205, 220, 240), np.uint8)
    side = TILE - 2
    scale = side / max(pixels.shape[:2])
    size = max(round(pixels.shape[1] * scale), 1), max(round(pixels.shape[0] * scale), 1)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    if small.ndim == 2:
        small = np.repeat(small[:, :, None], 3, axis=2)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    part = tile[top : top + size[1], left : left + size[0]]
    share = small[:, :, 3:] / 255 if small.shape[2] == 4 else 1
    part[:] = small[:, :, :3] * share + part * (1 - share)
    return tile
