"""Larger nets that teach LeNet: pixels [n, 1, 28, 28] -> three stages of convolutions -> logits [n, 10].

Distillation: G. Hinton, O. Vinyals, J. Dean: Distilling the Knowledge in a Neural Network, 2015. That teacher and
student must see the very same distorted picture: L. Beyer et al.: Knowledge distillation: A good teacher is patient and
consistent, CVPR 2022.
"""

import hashlib
import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from train import augment
from train.loop import fit
from train.mnist import Digits
from train.recipe import TEACHER, Recipe
from train.stream import pixels_of

RUN = Path(__file__).parent.parent / "run" / "train"  # what runs leave behind


def block(inputs: int, outputs: int, side: int = 3, padding: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, padding=padding, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Teacher(nn.Module):
    """A convolutional net with batch normalization; 93 thousand parameters at width 16."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            block(1, width, 5, 0),
            nn.MaxPool2d(2),
            block(width, 2 * width),
            block(2 * width, 2 * width),
            nn.MaxPool2d(2),
            block(2 * width, 4 * width),
            block(4 * width, 4 * width),
            nn.Flatten(),
            nn.Linear(4 * width * 36, 10),
        )
        self.quick = torch.cpu._is_avx512_bf16_supported()  # where the CPU multiplies bfloat16, twice as fast

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits, float32 [n, 10], of normalized pixels, float32 [n, 1, 28, 28]."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.quick):
            return self.layers(pixels).float()


class Teachers:
    """Pictures, uint8 [n, 28, 28] -> the mean of the teachers' logits, float32 [n, 10]."""

    def __init__(self, nets: list[nn.Module]) -> None:
        self.nets = [net.eval() for net in nets]

    @torch.inference_mode()
    def __call__(self, pictures: Tensor) -> Tensor:
        batches = (pixels_of(batch) for batch in pictures.split(500))
        return torch.cat([torch.stack([net(pixels) for net in self.nets]).mean(0) for pixels in batches])


def teachers(recipe: Recipe, train: Digits, validation: Digits) -> Teachers | None:
    """The recipe's teachers, from run/ where they have been trained already; None if it has none.

    Raises KeyboardInterrupt when one was stopped before its last epoch: half a teacher is not worth learning from.
    """
    recipes = [replace(TEACHER, seed=TEACHER.seed + number) for number in range(recipe.teachers)]
    return Teachers([_teacher(each, train, validation) for each in recipes]) if recipes else None


def _teacher(recipe: Recipe, train: Digits, validation: Digits) -> nn.Module:
    path = RUN / f"teacher-{recipe.seed}.pt"
    net = Teacher()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in its stubs
    if path.exists() and (kept := torch.load(path, weights_only=True))["recipe"] == recipe.as_dict():
        net.load_state_dict(kept["weights"])
        return net
    print(f"teacher {recipe.seed}: {recipe.epochs} epochs")
    fitted = fit(Teacher, recipe, train, validation, path.with_suffix(".checkpoint"), resume=True)
    if fitted.interrupted:
        raise KeyboardInterrupt
    torch.save({"recipe": recipe.as_dict(), "weights": fitted.net.state_dict()}, path.with_suffix(".partial"))
    os.replace(path.with_suffix(".partial"), path)
    return fitted.net


def rendered(recipe: Recipe) -> Path:
    """The folder of the pictures rendered for this recipe: another distortion or teacher has one of its own."""
    what = json.dumps([asdict(recipe.distortion), TEACHER.as_dict() if recipe.teachers else None, recipe.teachers])
    code = Path(augment.__file__).read_bytes()
    return RUN / f"pictures-{hashlib.sha256(what.encode() + code).hexdigest()[:12]}"
