"""What a run of training is: every choice, written once. Two runs of a recipe give the same bits on one machine."""

import math
from dataclasses import asdict, dataclass, replace

from train.augment import Distortion

SEEDS = (1, 2, 3, 4, 5)  # named before any of them was run; all are reported

DISTORTION = Distortion()


@dataclass(frozen=True)
class Recipe:
    """How LeNet is trained. Choices were made on validation, by `python -m train ablate`."""

    seed: int = 4  # that of the served weights
    epochs: int = 50
    batch_size: int = 250
    rate: float = 8e-3  # peak learning rate of AdamW: linear warm-up, then a half cosine to zero
    warm_up: float = 0.1  # share of the steps
    weight_decay: float = 0.02
    averaging: float = 0.02  # time constant of the averaged weights, as a share of all steps; 0 averages nothing
    distortion: Distortion = DISTORTION
    fresh: int = 20  # renderings of all pictures, taken in turn by the epochs; 0 renders every epoch anew
    teachers: int = 1  # larger nets whose averaged logits are learnt beside the labels
    softness: float = 3.0  # temperature at which teachers and student are compared
    trust: float = 0.9  # weight of the teachers against the labels

    def rate_at(self, progress: float) -> float:
        """Learning rate when `progress`, in [0, 1), of all steps is done."""
        if progress < self.warm_up:
            return self.rate * progress / self.warm_up
        return self.rate / 2 * (1 + math.cos(math.pi * (progress - self.warm_up) / (1 - self.warm_up)))

    def as_dict(self) -> dict:
        return asdict(self)


FULL = Recipe()
FINISH = replace(  # the last epochs of the full recipe: mild distortion, and labels, which know more than the teacher
    FULL,
    epochs=6,
    rate=1e-3,
    averaging=0.1,
    distortion=Distortion(0.175, 0.125, 0.15, 1.5, 0.6, thicken=0.05, thin=0.05, soften=0.05, noise=0.05, stray=0.03),
    fresh=0,
    teachers=0,
)
TEACHER = Recipe(
    seed=101, epochs=12, rate=6e-3, weight_decay=0.03, averaging=0.03, fresh=0, teachers=0
)  # of the larger net that teaches LeNet
QUICK = Recipe(
    epochs=5,
    warm_up=0.2,
    averaging=0.05,
    fresh=0,
    teachers=0,
    distortion=Distortion(0.15, 0.1, 0.1, 1.5, 0.4, thicken=0, thin=0, soften=0, noise=0, stray=0),
)
