"""What the verdict learns from: every hand keeps the digit, every kind of stranger is what it says and repeatable."""

import numpy as np
import pytest

from train import strangers
from train.hands import HANDS
from train.strangers import STRANGERS

BAR = np.zeros((28, 28), np.uint8)
BAR[4:24, 12:16] = 255


@pytest.mark.parametrize("hand", HANDS, ids=lambda hand: hand.__name__)
def test_a_hand_draws_the_digit_and_is_repeatable(hand):
    drawn = [hand(BAR, np.random.default_rng(seed)) for seed in (1, 1)]
    assert np.array_equal(*drawn)
    assert drawn[0].dtype == np.uint8
    assert np.ptp(drawn[0]) > 60


@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda stranger: stranger.__name__)
def test_a_stranger_is_an_image_for_each_picture(stranger):
    if stranger is strangers.clothes and not strangers.CLOTHES.exists():
        pytest.skip("dataset-fashion-mnist is not installed")
    pictures = np.stack([BAR] * 6)
    first, again = (stranger(pictures, np.random.default_rng(3)) for _ in range(2))
    assert len(first) == 6
    assert all(image.dtype == np.uint8 for image in first)
    assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))
