"""Augmentation: reproducible, within its limits, harmless when switched off."""

from dataclasses import replace

import pytest
import torch

from train.augment import PLAIN, Distortion, augment, thicken, thin

PICTURES = torch.zeros(40, 28, 28, dtype=torch.uint8)
PICTURES[:, 6:22, 12:16] = 255


def distorted(how: Distortion, seed: int = 0) -> torch.Tensor:
    return augment(PICTURES, how, torch.Generator().manual_seed(seed))


def test_no_distortion_changes_nothing():
    assert torch.equal(distorted(PLAIN), PICTURES)


def test_same_seed_same_bits():
    assert torch.equal(distorted(Distortion(), 3), distorted(Distortion(), 3))
    assert not torch.equal(distorted(Distortion(), 3), distorted(Distortion(), 4))


@pytest.mark.parametrize(
    "change",
    [{"rotation": 0.3}, {"scale": 0.2}, {"shear": 0.3}, {"shift": 3.0}, {"elastic": 1.0}]
    + [{name: 1.0} for name in ("thicken", "thin", "soften", "stray")]
    + [{"noise": 1.0, "noise_level": 0.2}],
)
def test_each_distortion_does_something_and_keeps_the_digit(change):
    pictures = distorted(replace(PLAIN, **change))
    assert pictures.dtype == torch.uint8
    assert pictures.shape == PICTURES.shape
    assert not torch.equal(pictures, PICTURES)
    assert (pictures > 100).flatten(1).sum(1).min() > 20  # ink remains in every picture


def test_shift_moves_by_at_most_its_pixels():
    pictures = distorted(replace(PLAIN, shift=3.0))
    rows = (pictures > 100).any(2).float()
    assert (rows.argmax(1) - 6).abs().max() <= 3
    assert (rows.argmax(1) - 6).abs().max() >= 1


def test_thicken_adds_ink_and_thin_removes_it():
    ink = PICTURES[:, None].float() / 255
    generator = torch.Generator().manual_seed(0)
    assert (thicken(ink, generator).sum((1, 2, 3)) > ink.sum((1, 2, 3))).all()
    assert (thin(ink, generator).sum((1, 2, 3)) < ink.sum((1, 2, 3))).all()
