"""Habits of other writers: drawn over some digits of three classes, reproducibly, in MNIST's box."""

import pytest
import torch

from train.habits import Habits, write

ALL = Habits(1, 1, 1)
LABELS = torch.arange(10).repeat(40)
DRAWN = torch.zeros(28, 28, dtype=torch.uint8)
DRAWN[4:24, 13:15] = 255  # an upright stroke passes for any digit here
PICTURES = DRAWN.repeat(len(LABELS), 1, 1)


def written(habits: Habits, seed: int = 0) -> torch.Tensor:
    return write(PICTURES, LABELS, habits, torch.Generator().manual_seed(seed))


def test_only_the_three_classes_change():
    changed = (written(ALL) != PICTURES).flatten(1).any(1)
    assert set(LABELS[changed].tolist()) == {0, 1, 7}
    assert changed.sum() == 3 * 40


def test_no_share_changes_nothing_and_a_share_some():
    assert torch.equal(written(Habits(0, 0, 0)), PICTURES)
    changed = (written(Habits(0.5, 0, 0)) != PICTURES).flatten(1).any(1)
    assert 5 < changed.sum() < 35


def test_the_same_seed_gives_the_same_bits():
    assert torch.equal(written(ALL, 3), written(ALL, 3))
    assert not torch.equal(written(ALL, 3), written(ALL, 4))


def test_the_picture_stays_one_of_mnists():
    ink = written(ALL).float()
    axis = torch.arange(28.0)
    for along in (1, 2):
        profile = ink.amax(along)
        sides = 28 - profile.gt(110).float().argmax(1) - profile.flip(1).gt(110).float().argmax(1)
        assert sides.max() <= 21
        centre = (ink.sum(along) * axis).sum(1) / ink.sum((1, 2))
        assert (centre - 13.5).abs().max() < 0.6


@pytest.mark.parametrize(
    ("label", "where"),
    [(1, (slice(4, 20), slice(0, 12))), (7, (slice(10, 20), slice(16, 28))), (0, (slice(2, 13), slice(16, 28)))],
)
def test_each_class_gets_its_stroke(label, where):
    """A flag left of the stem, a bar across it, a slash up to the right; a few ones have a foot alone."""
    ink = written(ALL)[label == LABELS][:, *where]
    assert (ink > 110).flatten(1).any(1).float().mean() > 0.6
