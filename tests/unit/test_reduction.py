"""Large pictures: their reduced pixels are block means, alpha bleeds no colours."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from decode import MAX_SIDE, decode
from reduction import reduced, reduced_in_parts


def means(pixels: np.ndarray, factor: int) -> np.ndarray:
    height, width = (side // factor for side in pixels.shape[:2])
    blocks = pixels[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
    return blocks.mean(axis=(1, 3)).reshape(height, width, *pixels.shape[2:])


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 12), st.integers(12, 60), st.integers(12, 60), st.sampled_from([(), (3,)]), st.integers(0, 2**32))
def test_reduced_pixels_are_the_means_of_blocks(factor, height, width, channels, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, *channels), dtype=np.uint8)
    assert np.abs(reduced(pixels, factor) - means(pixels, factor)).max() <= 1.5  # rounded once or, halved twice, more


@pytest.mark.parametrize("shape", [(1, 50), (50, 1), (3, 50)])
def test_an_extreme_strip_keeps_a_pixel(shape):
    assert reduced(np.full(shape, 9, np.uint8), 5).tolist() == np.full([max(s // 5, 1) for s in shape], 9).tolist()


def test_what_is_transparent_does_not_colour_its_neighbours():
    pixels = np.zeros((64, 64, 4), np.uint8)  # black, where it is clear
    pixels[:, 13:45] = 255, 200, 100, 255
    small = reduced(pixels, 8)
    seen = small[small[:, :, 3] > 0]
    assert {0, 255} < set(small[:, :, 3].ravel().tolist())
    assert np.abs(seen[:, :3].astype(int) - (255, 200, 100)).max() <= 2


@pytest.mark.parametrize(("width", "height"), [(1300, 207), (207, 1300), (100, 100), (2500, 1)])
def test_parts_give_the_whole(width, height):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    asked = []

    def part(left: int, top: int, right: int, bottom: int) -> np.ndarray:
        asked.append((right - left) * (bottom - top))
        return pixels[top:bottom, left:right]

    in_parts = reduced_in_parts(part, width, height, 100)
    assert np.array_equal(in_parts, reduced(pixels, max(width, height) // 100))
    assert max(asked) < 0.7 * pixels[..., 0].size or len(asked) == 1


def file_of(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_white_strokes_on_a_large_transparent_ground_stay_white(format):
    alpha = np.zeros((2 * MAX_SIDE, 2 * MAX_SIDE), np.uint8)
    alpha[501:1502, 901:1000] = 255
    strokes = Image.fromarray(np.dstack([alpha] * 4))
    pixels = decode(file_of(strokes, format, **({"lossless": True} if format == "WEBP" else {}))).pixels
    assert pixels.shape == (MAX_SIDE, MAX_SIDE, 4)
    assert pixels[pixels[:, :, 3] > 0].min(axis=0)[:3].tolist() == [255, 255, 255]
