"""What the verdict learns from: every style keeps the digit, every kind of non-digit is an image and repeatable."""

import numpy as np
import pytest

from train.research import non_digits
from train.research.non_digits import NON_DIGITS
from train.research.styles import STYLES

BAR = np.zeros((28, 28), np.uint8)
BAR[4:24, 12:16] = 255


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.__name__)
def test_a_style_keeps_the_digit_and_is_repeatable(style):
    drawn = [style(BAR, np.random.default_rng(seed)) for seed in (1, 1)]
    assert np.array_equal(*drawn)
    assert drawn[0].dtype == np.uint8
    assert np.ptp(drawn[0]) > 60


@pytest.mark.parametrize("kind", NON_DIGITS, ids=lambda kind: kind.__name__)
def test_a_non_digit_is_an_image_for_each_picture(kind):
    if kind is non_digits.clothes and not non_digits.CLOTHES.exists():
        pytest.skip("dataset-fashion-mnist is not installed")
    pictures = np.stack([BAR] * 6)
    first, again = (kind(pictures, np.random.default_rng(3)) for _ in range(2))
    assert len(first) == 6
    assert all(image.dtype == np.uint8 for image in first)
    assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))
