"""What a run of training is: every choice, written once.

A plan is what `fit` does in order: train the teachers, train LeNet on their logits, fine-tune it on labels alone and on
habits of writers that MNIST hardly has.
"""

import math
from dataclasses import asdict, dataclass

from train.augment import Distortion
from train.habits import SHARES

SEEDS = (1, 2, 3, 4, 5)  # named before any of them was run; all are reported

STRONG = Distortion()
MILD = Distortion(0.175, 0.125, 0.15, 1.5, 0.6, thicken=0.05, thin=0.05, soften=0.05, noise=0.05, stray=0.03)


@dataclass(frozen=True)
class Recipe:
    """How one net is trained: AdamW, a linear warm-up, then half a cosine to zero."""

    epochs: int
    learning_rate: float  # at the peak
    weight_decay: float
    distortion: Distortion
    renderings: int  # augmented copies of the data set, used in turn by the epochs
    batch_size: int = 250
    warm_up: float = 0.1  # share of the steps
    ema: float = 0.02  # time constant of the averaged weights, as a share of all steps; 0 averages nothing
    temperature: float = 3.0  # at which teachers and student are compared
    alpha: float = 0.0  # weight of the teachers' probabilities against the labels
    habits: dict[int, float] | None = None  # share of a class that gets a habit of other writers before it is distorted

    def rate_at(self, progress: float) -> float:
        """Learning rate when `progress`, in [0, 1), of all steps is done."""
        if progress < self.warm_up:
            return self.learning_rate * progress / self.warm_up
        return self.learning_rate / 2 * (1 + math.cos(math.pi * (progress - self.warm_up) / (1 - self.warm_up)))


@dataclass(frozen=True)
class Plan:
    """The recipes of a whole run. Without teachers LeNet learns from labels alone."""

    student: Recipe
    finish: Recipe | None = None  # the last epochs: mild distortion, and labels, which know more than the teachers
    teacher: Recipe | None = None
    teachers: tuple[int, ...] = ()  # their seeds; LeNet learns from the mean of their logits
    width: int = 24  # of the teachers

    def as_dict(self) -> dict:
        return asdict(self)


FULL = Plan(
    student=Recipe(110, 8e-3, 0.1, STRONG, renderings=20, alpha=0.9),
    finish=Recipe(96, 1e-3, 0.1, MILD, renderings=24, ema=0.4, habits=SHARES),
    teacher=Recipe(15, 6e-3, 0.03, STRONG, renderings=20, ema=0.03),
    teachers=(101, 102),
)
QUICK = Plan(
    Recipe(
        5, 8e-3, 0.02, Distortion(0.15, 0.1, 0.1, 1.5, 0.4, 0, 0, 0, 0, stray=0), renderings=5, warm_up=0.2, ema=0.05
    )
)
