"""Habits of other writers: drawn over some digits of five classes, reproducibly, in MNIST's box."""

import pytest
import torch

from train.habits import EVERY, write

LABELS = torch.arange(10).repeat(40)
DRAWN = torch.zeros(28, 28, dtype=torch.uint8)
DRAWN[4:24, 13:15] = 255  # an upright stroke passes for any digit here
PICTURES = DRAWN.repeat(len(LABELS), 1, 1)
FOUR = torch.zeros(28, 28, dtype=torch.uint8)
FOUR[4:16, 7:9] = FOUR[14:16, 7:20] = FOUR[4:24, 16:18] = 255
PICTURES[LABELS == 4] = FOUR


def written(shares: dict[int, float], seed: int = 0) -> torch.Tensor:
    return write(PICTURES, LABELS, shares, torch.Generator().manual_seed(seed))


def test_only_the_five_classes_change():
    changed = (written(EVERY) != PICTURES).flatten(1).any(1)
    assert set(LABELS[changed].tolist()) == {0, 1, 4, 7, 9}
    assert changed.sum() == 5 * 40


def test_no_share_changes_nothing_and_a_share_some():
    assert torch.equal(written({}), PICTURES)
    changed = (written({1: 0.5}) != PICTURES).flatten(1).any(1)
    assert 5 < changed.sum() < 35


def test_the_same_seed_gives_the_same_bits():
    assert torch.equal(written(EVERY, 3), written(EVERY, 3))
    assert not torch.equal(written(EVERY, 3), written(EVERY, 4))


def test_the_picture_stays_one_of_mnists():
    ink = written(EVERY).float()
    axis = torch.arange(28.0)
    for along in (1, 2):
        profile = ink.amax(along)
        sides = 28 - profile.gt(110).float().argmax(1) - profile.flip(1).gt(110).float().argmax(1)
        assert sides.max() <= 21
        centre = (ink.sum(along) * axis).sum(1) / ink.sum((1, 2))
        assert (centre - 13.5).abs().max() < 0.6


@pytest.mark.parametrize(
    ("label", "where"),
    [
        (0, (slice(2, 13), slice(16, 28))),
        (1, (slice(4, 20), slice(0, 12))),
        (7, (slice(10, 20), slice(16, 28))),
        (9, (slice(16, 28), slice(0, 12))),
    ],
)
def test_each_class_gets_its_stroke(label, where):
    """A slash up to the right, a flag left of the stem, a bar across it, a tail; a few ones have a foot only."""
    ink = written(EVERY)[label == LABELS][:, *where]
    assert (ink > 110).flatten(1).any(1).float().mean() > 0.6


def test_the_stem_of_fours_begins_at_the_bar():
    ink = written({4: 1})[LABELS == 4] > 110
    assert (ink.any(2).sum(1) >= 18).all(), "the first stroke and what is below the bar stay"
    highest = ink[:, :, 15:].any(2).float().argmax(1)  # of the stem; the digit begins in row 4
    assert (highest > 8).all()
    assert (highest < 17).all()
