"""MNIST's digits -> as people write them elsewhere: ones with a flag or a foot, sevens with a bar, and so on.

uint8 [n, 28, 28], labels -> a share of five classes is redrawn -> MNIST's box and centre again -> uint8 [n, 28, 28]

MNIST's writers were Americans, few of whom write so. Each stroke's place, length and angle are drawn uniformly from
what these habits look like; lengths are shares of the digit's height.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from canonical import BOX
from digit import SIDE

SHARES = {0: 0.1, 1: 0.2, 4: 0.1, 7: 0.15, 9: 0.15}  # of each class, in training
EVERY = dict.fromkeys(SHARES, 1.0)
INKED = 0.4  # of the full grey level: what counts when a digit is measured
FAINT = 0.15  # what still counts as a stroke when a part of it is erased


def write(pictures: Tensor, labels: Tensor, shares: Mapping[int, float], generator: Generator) -> Tensor:
    """A copy of pictures, uint8 [n, 28, 28] on the generator's device, of which some are written by these habits.

    Args:
        labels: int64 [n].
        shares: how many of a class, in [0, 1]; of a class that is not named, none.
    """
    written = pictures.clone()
    for label, (_, change) in HABITS.items():
        chosen = torch.rand(len(labels), generator=generator, device=labels.device) < shares.get(label, 0)
        chosen &= labels == label
        if chosen.any():
            ink = _as_mnist(change(_Digits(pictures[chosen].float() / 255, generator)))
            written[chosen] = (ink * 255).round().to(torch.uint8)
    return written


class _Digits:
    """Digits of one class that are drawn over.

    Attributes:
        ink: float32 [n, 28, 28] in [0, 1].
        axis: the pixels along a side, float32 [28].
        top, bottom, height: of each digit in pixels, float32 [n].
        pen: half the width of its strokes.
    """

    def __init__(self, ink: Tensor, generator: Generator) -> None:
        self.ink, self._generator = ink, generator
        self.axis = torch.arange(SIDE, dtype=torch.float32, device=ink.device)
        self.top, self.bottom = _ends(ink.amax(2))
        self.height = (self.bottom - self.top).clamp(min=4)
        area = (ink > INKED).float()
        inside = -F.max_pool2d(-area[:, None], 3, 1, 1)[:, 0]
        edge = (area - inside).sum((1, 2)).clamp(min=1)  # along both sides of the strokes
        self.pen = (area.sum((1, 2)) / edge).clamp(0.7, 2) * self.between(0.7, 1.1)

    def between(self, low: float | Tensor, high: float) -> Tensor:
        """A random number for each digit, float32 [n]."""
        return low + (high - low) * torch.rand(len(self.ink), generator=self._generator, device=self.ink.device)

    def middle(self, row: Tensor) -> Tensor:
        """Where the ink in and beside a row is on average, float32 [n]."""
        rows = ((self.axis - row[:, None]).abs() <= 1).float()
        return _mean(torch.einsum("nyx,ny->nx", self.ink, rows))

    def draw(self, x: Tensor, y: Tensor, right: Tensor, down: Tensor, which: Tensor | bool = True) -> None:
        """A straight stroke from (x, y) to (x + right, y + down) over each digit, or over those of `which`."""
        x, y, right, down, pen = (each[:, None, None] for each in (x, y, right, down, self.pen))
        across, along = self.axis - x, self.axis[:, None] - y
        done = ((across * right + along * down) / (right**2 + down**2)).clamp(0, 1)  # where it is nearest to a pixel
        beside = torch.hypot(across - done * right, along - done * down)
        stroke = (pen + 0.5 - beside).clamp(0, 1) * self.ink.amax((1, 2))[:, None, None]
        over = torch.maximum(self.ink, stroke)
        self.ink = over if which is True else torch.where(which[:, None, None], over, self.ink)


def _zero(digits: _Digits) -> Tensor:
    """A slash through the middle, mostly up to the right."""
    angle = digits.between(0.55, 1.6)
    half = digits.height * digits.between(0.32, 0.75)
    right = half * angle.cos() * torch.where(digits.between(0, 1) < 0.12, -1, 1)
    x, y = _mean(digits.ink.sum(1)), (digits.top + digits.bottom) / 2
    digits.draw(x - right, y + half * angle.sin(), 2 * right, -2 * half * angle.sin())
    return digits.ink


def _one(digits: _Digits) -> Tensor:
    """A flag that falls from the top to the left, a foot, or both. A flatter flag without a foot would make a seven."""
    foot = digits.between(0, 1) < 0.4
    flag = ~foot | (digits.between(0, 1) < 0.85)
    falls = digits.between(torch.where(foot, 0.35, 0.5), 1.25)  # radians
    length = digits.height * digits.between(0.2, 0.8)
    digits.draw(digits.middle(digits.top), digits.top + 0.5, -length * falls.cos(), length * falls.sin(), flag)
    x, y = digits.middle(digits.bottom), digits.bottom - 0.5
    left, right = (digits.height * digits.between(0.15, 0.4) for _ in range(2))
    tilt = digits.between(-0.12, 0.12)
    digits.draw(x - left, y + left * tilt, left + right, -(left + right) * tilt, foot)
    return digits.ink


def _four(digits: _Digits) -> Tensor:
    """The stem begins at the bar or little above it: what is right of the first stroke is erased further up."""
    below_top = (digits.axis - digits.top[:, None]) / digits.height[:, None]
    among = (below_top > 0.3) & (below_top < 0.85)  # where a bar may be
    bar = (digits.ink.sum(2) * among).argmax(1)
    above = digits.axis < (bar - digits.height * digits.between(0.05, 0.25))[:, None]
    inked = digits.ink > FAINT
    gap = (inked.cumsum(2) > 0) & ~inked  # what follows the first stroke of a row
    stem = inked & (gap.cumsum(2) > 0)
    rows = torch.where(stem.any(2), torch.arange(SIDE, device=inked.device), SIDE - 1)
    rows = rows.flip(1).cummin(1).values.flip(1)  # a row with one stroke is taken like the next below that has both
    edge = torch.where(stem.any(2), stem.float().argmax(2), SIDE).gather(1, rows)
    return digits.ink * ~(above[:, :, None] & (digits.axis >= edge[:, :, None]))


def _seven(digits: _Digits) -> Tensor:
    """A bar across the stem."""
    y = digits.top + digits.height * digits.between(0.38, 0.62)
    left, right = (digits.height * digits.between(0.12, reach) for reach in (0.4, 0.45))
    rise = digits.between(-0.3, 0.45)
    digits.draw(digits.middle(y) - left, y + left * rise, left + right, -(left + right) * rise)
    return digits.ink


def _nine(digits: _Digits) -> Tensor:
    """The tail turns to the left."""
    length, rise = digits.height * digits.between(0.3, 0.8), digits.between(-0.35, 0.4)
    digits.draw(digits.middle(digits.bottom), digits.bottom - 0.5, -length * rise.cos(), -length * rise.sin())
    return digits.ink


HABITS = {
    0: ("zeros with a slash", _zero),
    1: ("ones with a flag or a foot", _one),
    4: ("fours whose stem begins at the bar", _four),
    7: ("sevens with a bar", _seven),
    9: ("nines whose tail turns to the left", _nine),
}


def _as_mnist(ink: Tensor) -> Tensor:
    """Made small enough for MNIST's box of 20 by 20 pixels, with the centre of mass in the middle."""
    sides = [last - first + 1 for first, last in (_ends(ink.amax(1)), _ends(ink.amax(2)))]
    times = (torch.maximum(*sides) / BOX).clamp(min=1)
    pixel, middle, none = 2 / SIDE, (SIDE - 1) / 2, torch.zeros_like(times)
    across = torch.stack([times, none, (_mean(ink.sum(1)) - middle) * pixel], 1)
    down = torch.stack([none, times, (_mean(ink.sum(2)) - middle) * pixel], 1)
    grid = F.affine_grid(torch.stack([across, down], 1), [len(ink), 1, SIDE, SIDE], align_corners=False)
    return F.grid_sample(ink[:, None], grid, align_corners=False)[:, 0].clamp(0, 1)


def _ends(profile: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the last pixel that is inked, float32 [n], of the highest levels along an axis, [n, 28]."""
    inked = (profile > INKED).float()
    return inked.argmax(1).float(), SIDE - 1 - inked.flip(1).argmax(1).float()


def _mean(weights: Tensor) -> Tensor:
    """The weighted mean position along an axis, float32 [n], of weights [n, 28]."""
    axis = torch.arange(SIDE, dtype=torch.float32, device=weights.device)
    return (weights * axis).sum(1) / weights.sum(1).clamp(min=1e-3)
