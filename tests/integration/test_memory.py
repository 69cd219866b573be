"""Memory that decoding takes, each image in a process of its own: bounded for the largest images of every format."""

import io

import pytest
from PIL import Image

from bench.decoders import LARGE, peak_memory

BOUND = 360  # MiB; 40 megapixels of RGBA take 153, and OpenCV's decoders hold them twice
BOUND_ANIMATED = 520  # ... of an animated WebP three times


def file_of(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "format", "options"),
    [
        ("RGBA", "PNG", {"compress_level": 1}),
        ("P", "PNG", {"compress_level": 1, "transparency": 0}),
        ("CMYK", "JPEG", {"progressive": True}),
        ("RGBA", "WEBP", {"method": 0}),
        ("CMYK", "TIFF", {"compression": "packbits"}),
    ],
)
def test_memory_is_bounded(mode, format, options):
    assert peak_memory(file_of(Image.new(mode, LARGE), format, **options)) < BOUND


def test_the_memory_of_an_animation_is_bounded():
    frames = [Image.new("RGBA", LARGE, colour) for colour in ("red", "blue")]
    assert peak_memory(file_of(frames[0], "WEBP", method=0, save_all=True, append_images=frames[1:])) < BOUND_ANIMATED


@pytest.mark.parametrize("size", [(1_000_000, 40), (40, 1_000_000)])
def test_the_memory_of_an_extreme_strip_is_bounded(size):
    assert peak_memory(file_of(Image.new("LA", size), "PNG")) < BOUND
