"""Transparent pixels: what is seen is read, whether the alpha is the drawing or a sheet's outline."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageChops, ImageDraw

from reader import read
from tests.unit.test_decode import close, drawing, file_of, seen
from transparency import opaque

FORMATS = [
    ("RGBA", "PNG", {}),
    ("LA", "PNG", {}),
    ("RGBA", "WEBP", {"lossless": True, "exact": True}),
    ("RGBA", "TIFF", {}),
]


def thin(side: int = 200) -> Image.Image:
    """A dark seven on white, of whose pixels less than a fiftieth are ink."""
    pixels = np.full((side, side), 255, np.uint8)
    cv2.polylines(pixels, [np.int32([[70, 50], [140, 50], [100, 150]])], False, 20, 3, cv2.LINE_AA)
    return Image.fromarray(pixels)


THIN = seen(file_of(thin(), "PNG"))


def one_pixel(mask: Image.Image) -> None:
    mask.putpixel((mask.width - 1, 0), 0)


def rounded(mask: Image.Image) -> None:
    mask.paste(0, (0, 0, *mask.size))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, mask.width - 1, mask.height - 1), 20, 255)


def disc(mask: Image.Image) -> None:
    mask.paste(0, (0, 0, *mask.size))
    ImageDraw.Draw(mask).ellipse((0, 0, mask.width - 1, mask.height - 1), 255)


@pytest.mark.parametrize("under", [0, 255], ids=["black under it", "white under it"])
@pytest.mark.parametrize("cut", [one_pixel, rounded, disc])
@pytest.mark.parametrize(("mode", "format", "options"), FORMATS)
def test_a_sheet_with_bits_missing_is_a_sheet(mode, format, options, cut, under):
    mask = Image.new("L", thin().size, 255)
    cut(mask)
    sheet = Image.composite(thin(), Image.new("L", mask.size, under), mask).convert(mode)
    sheet.putalpha(mask)
    assert close(seen(file_of(sheet, format, **options)), THIN)


@pytest.mark.parametrize("degrees", [3, -8, 40])
def test_a_scan_turned_upright_is_a_sheet(degrees):
    crooked = thin().rotate(degrees, Image.Resampling.BICUBIC, fillcolor=255)
    upright = crooked.convert("RGBA").rotate(-degrees, Image.Resampling.BICUBIC, expand=True)
    assert np.abs(seen(file_of(upright, "PNG")) - THIN).mean() < 10  # resampled twice


def test_pale_pencil_on_a_turned_sheet_is_read():
    pale = thin().point(lambda v: 212 + v * 36 // 255)
    upright = pale.convert("RGBA").rotate(9, Image.Resampling.BICUBIC, expand=True)
    reference = pale.rotate(9, Image.Resampling.BICUBIC, expand=True, fillcolor=248)
    assert close(seen(file_of(upright, "PNG")), seen(file_of(reference, "PNG")))


def test_the_light_on_a_sheet_goes_on_beyond_its_outline():
    light = Image.fromarray(np.linspace(80, 255, 200).astype(np.uint8)[None].repeat(200, axis=0))
    upright = ImageChops.multiply(thin(), light).convert("RGBA").rotate(12, Image.Resampling.BICUBIC, expand=True)
    ground = opaque(np.asarray(upright))
    assert ground[:3, :20].max() < 130  # as dark as the corner nearby, not as the sheet's middle
    assert ground[-3:, -20:].min() > 220
    reference = thin().rotate(12, Image.Resampling.BICUBIC, expand=True, fillcolor=255)
    assert close(seen(file_of(upright, "PNG")), seen(file_of(reference, "PNG")))


@pytest.mark.parametrize("alpha", [0, 1, 128, 255])
@pytest.mark.parametrize(("mode", "format", "options"), FORMATS)
def test_alpha_that_is_the_same_all_over_says_nothing(mode, format, options, alpha):
    sheet = thin().convert(mode)
    sheet.putalpha(alpha)
    assert close(seen(file_of(sheet, format, **options)), THIN)


@pytest.mark.parametrize("cut", [None, one_pixel, rounded])
@pytest.mark.parametrize("colour", [(0, 0, 0, 0), (255, 255, 255, 255), (90, 120, 200, 255)])
def test_an_empty_sheet_stays_blank(colour, cut):
    sheet = Image.new("RGBA", (120, 120), colour)
    if cut is not None and colour[3]:
        mask = Image.new("L", sheet.size, 255)
        cut(mask)
        sheet.putalpha(mask)
    _, (outcome,) = read([file_of(sheet, "PNG")])
    assert "blank" in outcome.warnings


def on_nothing(colour: np.ndarray | tuple[int, int, int]) -> Image.Image:
    """The seven as strokes of one colour, or of one for each pixel, on a transparent ground."""
    alpha = 255 - np.asarray(drawing())
    return Image.fromarray(np.dstack([np.broadcast_to(np.uint8(colour), (*alpha.shape, 3)), alpha]))


def test_strokes_of_any_colours_on_nothing_are_their_shape():
    reference = seen(file_of(drawing(), "PNG"))
    rainbow = np.stack(np.broadcast_arrays(*np.ogrid[:224:4, :256:4], 99), axis=2)
    for colour in ((0, 0, 0), (255, 255, 255), (200, 30, 30), rainbow):
        assert close(seen(file_of(on_nothing(colour), "PNG")), reference)


@pytest.mark.parametrize("width", [10, 24])
def test_a_straight_one_of_several_colours_is_its_shape(width):
    """It fills the rectangle around it as a sheet does, but a sheet is not so narrow."""
    pixels = np.zeros((112, 112, 4), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, 112)[:, None]
    pixels[16:96, 50 : 50 + width, 3] = 255
    assert np.array_equal(opaque(pixels), pixels[..., 3])


def test_the_soft_edges_of_one_colour_are_not_of_several():
    """As where pixels are premultiplied: grey levels are the alpha."""
    disc = cv2.GaussianBlur(cv2.circle(np.zeros((112, 112), np.uint8), (56, 56), 30, 255, -1), (0, 0), 1)
    assert np.array_equal(opaque(np.dstack([disc] * 4)), disc)


def test_a_faint_marker_is_its_shape():
    strokes = on_nothing((0, 0, 0))
    strokes.putalpha(strokes.getchannel("A").point(lambda a: a // 4))
    assert close(seen(file_of(strokes, "PNG")), seen(file_of(drawing(), "PNG")))


def test_a_bar_that_fills_its_picture_is_its_shape():
    alpha = np.zeros((60, 22), np.uint8)
    alpha[2:-2, 4:-4] = 255
    assert np.array_equal(opaque(np.dstack([np.full_like(alpha, 30)] * 3 + [alpha])), alpha)


def test_what_has_no_alpha_stays_as_it_is():
    for shape in ((9, 8), (9, 8, 3)):
        pixels = np.full(shape, 7, np.uint8)
        assert opaque(pixels) is pixels


@given(
    arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(4)), elements=st.sampled_from([0, 90, 255])
    )
)
def test_any_pixels_become_opaque(pixels):
    found = opaque(pixels)
    assert found.dtype == np.uint8
    assert found.shape in {pixels.shape[:2], (*pixels.shape[:2], 3)}
