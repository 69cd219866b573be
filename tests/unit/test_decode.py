"""Files to pixels: every mode, format and orientation; limits before decoding; mutated files."""

import io
import random
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from decode import (
    MAX_SCANS,
    MAX_SIDE,
    EmptyImage,
    ImageTooLarge,
    PictureError,
    UndecodableImage,
    decode,
    max_pixels_from_environment,
)
from reader import Reading, read
from train.research.photo import HEIGHT, WIDTH
from train.research.uploads import motion_photos


def drawing(side: int = 56) -> Image.Image:
    """A seven, black on white, off centre and unlike itself when turned or mirrored."""
    pixels = np.full((side, side + 8), 255, np.uint8)
    cv2.polylines(pixels, [np.int32([[12, 10], [44, 10], [24, 46]])], False, 0, 5)
    return Image.fromarray(pixels)


def file_of(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def seen(data: bytes) -> np.ndarray:
    pictures, (outcome,) = read([data])
    assert isinstance(outcome, Reading), outcome
    return pictures[0].astype(int)


def close(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether pictures are alike; a pixel to any side is no difference, since the centre of mass is rounded."""
    moved = (np.roll(a, (down, across), axis=(0, 1)) for down in (-1, 0, 1) for across in (-1, 0, 1))
    return any(bool(np.abs(each - b).mean() < 7) for each in moved)


REFERENCE = seen(file_of(drawing(), "PNG"))


def in_mode(mode: str) -> Image.Image:
    grey = drawing()
    clear = Image.eval(grey, lambda v: 255 - v)
    if mode in ("LA", "RGBA"):
        image = Image.new(mode, grey.size, 0)
        image.putalpha(clear)
        return image
    if mode == "I;16":
        return Image.fromarray(np.asarray(grey).astype(np.uint16) * 200)
    if mode == "F":
        return Image.fromarray(np.asarray(grey).astype(np.float32) / 255 - 0.5)
    if mode == "I":
        return Image.fromarray(np.asarray(grey).astype(np.int32) * 1000)
    return grey.convert(mode)


@pytest.mark.parametrize(
    ("mode", "format"),
    [
        ("1", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("I;16", "PNG"),
        ("L", "JPEG"), ("RGB", "JPEG"), ("CMYK", "JPEG"),
        ("RGB", "WEBP"), ("RGBA", "WEBP"), ("L", "GIF"), ("P", "GIF"), ("RGB", "GIF"),
        ("1", "BMP"), ("L", "BMP"), ("P", "BMP"), ("RGB", "BMP"),
        ("1", "TIFF"), ("L", "TIFF"), ("LA", "TIFF"), ("P", "TIFF"), ("RGB", "TIFF"), ("RGBA", "TIFF"),
        ("CMYK", "TIFF"), ("I;16", "TIFF"), ("I", "TIFF"), ("F", "TIFF"), ("YCbCr", "TIFF"), ("LAB", "TIFF"),
    ],
)  # fmt: skip
def test_every_mode_of_every_format_shows_the_same_digit(mode, format):
    assert close(seen(file_of(in_mode(mode), format)), REFERENCE)


@pytest.mark.parametrize("ink", [0, 255])
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_strokes_on_a_transparent_ground_stay_ink(ink, format):
    alpha = np.asarray(Image.eval(drawing(), lambda v: 255 - v))
    image = Image.fromarray(np.dstack([np.full_like(alpha, ink)] * 3 + [alpha]))
    assert close(seen(file_of(image, format)), REFERENCE)


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_palette_with_a_transparent_entry(format):
    image = drawing().convert("1").convert("P")
    white = max(range(2), key=lambda i: image.palette.palette[3 * i])
    assert close(seen(file_of(image, format, transparency=white)), REFERENCE)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("format", "side"),
    [("JPEG", 56), ("PNG", 56), ("WEBP", 56), ("TIFF", 56), ("JPEG", 2048)],  # a large JPEG is decoded at reduced scale
)
def test_exif_orientation_is_applied(format, side, orientation):
    turns = {
        1: [], 2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM], 5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90], 7: [Image.Transpose.TRANSVERSE], 8: [Image.Transpose.ROTATE_270],
    }  # fmt: skip
    image = drawing()
    if side > 56:
        image = image.resize((side, side * image.height // image.width))
    for turn in turns[orientation]:
        image = image.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert close(seen(file_of(image, format, exif=exif)), REFERENCE)


ORANGE, TEAL = (240, 120, 20), (10, 110, 130)


@pytest.mark.parametrize("side", [64, 2 * MAX_SIDE])
@pytest.mark.parametrize(
    ("mode", "format", "options"),
    [
        ("RGB", "PNG", {}), ("RGBA", "PNG", {}), ("P", "PNG", {}), ("RGB", "JPEG", {}),
        ("RGB", "WEBP", {"lossless": True}), ("RGBA", "WEBP", {"lossless": True}),
        ("P", "GIF", {}), ("RGB", "BMP", {}), ("RGB", "TIFF", {}), ("RGBA", "TIFF", {}),
    ],
)  # fmt: skip
def test_colours_are_red_green_blue_and_alpha_is_last(mode, format, options, side):
    image = Image.new("RGB", (side, side), ORANGE)
    image.paste(TEAL, (side // 2, 0, side, side))
    if mode == "RGBA":
        image.putalpha(200)
    image = image.quantize() if mode == "P" else image.convert(mode)
    pixels = decode(file_of(image, format, **options)).pixels.astype(int)
    middle, left, right = len(pixels) // 2, pixels.shape[1] // 4, pixels.shape[1] * 3 // 4
    for found, colour in ((pixels[middle, left], ORANGE), (pixels[middle, right], TEAL)):
        assert np.abs(found[:3] - colour).max() <= 4, found
        assert found[3:].tolist() == ([200] if mode == "RGBA" else [])


@pytest.mark.parametrize("format", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_frame_counts(format):
    other = Image.new("L", drawing().size, 255)
    assert close(seen(file_of(drawing(), format, save_all=True, append_images=[other, other])), REFERENCE)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))


def png_claiming(width: int, height: int, rows: bytes = b"") -> bytes:
    header = struct.pack("!IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_what_is_no_image():
    with pytest.raises(EmptyImage) as caught:
        decode(b"")
    assert (caught.value.status, caught.value.code) == (400, "empty_image")
    for data in (
        b"\x00",
        b"hello",
        b"%PDF-1.7 ",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
    ):
        with pytest.raises(UndecodableImage) as caught:
            decode(data)
        assert (caught.value.status, caught.value.code) == (422, "undecodable_image")
        assert "PNG, JPEG, WebP, GIF, BMP or TIFF" in caught.value.message


def test_formats_that_pillow_knows_but_we_do_not_read():
    for format in ("PPM", "TGA", "ICO", "PCX", "SGI", "AVIF", "JPEG2000"):
        with pytest.raises(UndecodableImage):
            decode(file_of(drawing(), format))


def test_heic_names_the_remedy():
    with pytest.raises(UndecodableImage, match="save it as JPEG or PNG"):
        decode(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + b"\x00" * 100)


@pytest.mark.parametrize(("width", "height"), [(0, 28), (28, 0), (0, 0)])
def test_pictures_without_pixels(width, height):
    with pytest.raises(UndecodableImage):
        decode(png_claiming(width, height))


def test_a_header_that_lies_about_its_size():
    with pytest.raises(UndecodableImage):
        decode(png_claiming(28, 28, b"\0" * 29 * 20))


def test_the_limit_is_checked_from_the_header_alone():
    bombs = [png_claiming(100_000, 100_000)]
    for format in ("JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        bombs.append(file_of(drawing(1000), format))
    for bomb in bombs:
        with pytest.raises(ImageTooLarge) as caught:
            decode(bomb, max_pixels=999_999)
        assert (caught.value.status, caught.value.code) == (413, "image_too_large")
        assert "999999 pixels" in caught.value.message


def test_a_first_frame_larger_than_the_screen():
    data = bytearray(file_of(drawing(), "GIF"))
    at = data.index(b"\x2c") + 5
    data[at : at + 4] = struct.pack("<HH", 60_000, 60_000)
    with pytest.raises(PictureError):
        decode(bytes(data))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_file(format):
    data = file_of(drawing(), format)
    for length in range(1, len(data) - 20, max(len(data) // 40, 1)):
        with pytest.raises(UndecodableImage):
            decode(data[:length])


def test_a_png_whose_checksum_is_wrong():
    data = bytearray(file_of(drawing(), "PNG"))
    data[60] ^= 1
    with pytest.raises(UndecodableImage):
        decode(bytes(data))


@pytest.mark.parametrize("kind", [b"IDAT", b"eXIf", b"IEND"])
def test_a_png_whose_chunk_claims_gigabytes(kind):
    data = file_of(drawing(), "PNG")
    lying = data[:33] + struct.pack("!I", 2**31 - 1) + kind + data[41:]
    with pytest.raises(UndecodableImage, match="cut off"):  # found before OpenCV makes room for the chunk
        decode(lying)


def test_a_jpeg_of_endless_scans():
    data = file_of(drawing(), "JPEG", progressive=True)
    with pytest.raises(UndecodableImage, match="scans"):
        decode(data[:-2] + b"\xff\xda\x00\x02" * 1000 + data[-2:])


def test_scans_of_the_picture_count_although_others_follow_its_end():
    data = file_of(drawing(), "JPEG", progressive=True)
    with pytest.raises(UndecodableImage, match="scans"):
        decode(data[:-2] + b"\xff\xda\x00\x02" * 100 + data[-2:] + b"\xff\xd9" + data)


@pytest.mark.parametrize("tail", [b"\xff\xda" * 1000, b"\xff\xd8\xff\xda\x00\x02" * 1000, b"\xff\xd9", b"\0" * 9])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_bytes_after_the_end_of_a_jpeg_are_ignored(mode, tail):
    data = file_of(in_mode(mode), "JPEG", progressive=True)
    assert np.array_equal(decode(data + tail).pixels, decode(data).pixels)


def test_a_motion_photo_is_read():
    (moving,) = motion_photos(np.full((1, 28, 28), 99, np.uint8), np.random.default_rng(0))
    assert moving.count(b"\xff\xda") > MAX_SCANS  # by chance, in the film
    assert decode(moving).pixels.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_a_jpeg_without_its_end_is_cut_off(options):
    data = file_of(drawing(), "JPEG", **options)
    decode(data)
    for length in (*range(4, len(data) - 1, 7), len(data) - 1):
        with pytest.raises(UndecodableImage, match="cut off"):
            decode(data[:length])


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(("side", "scale"), [(511, 1), (512, 2), (1023, 2), (1024, 4), (2048, 8), (4000, 8)])
def test_a_jpeg_is_decoded_at_a_reduced_scale(mode, side, scale):
    pixels = decode(file_of(drawing().resize((side, side // 2)).convert(mode), "JPEG")).pixels
    assert pixels.shape[:2] == (-(-(side // 2) // scale), -(-side // scale))


@pytest.mark.parametrize("thickness", [1, 3])
def test_thin_strokes_survive_the_reduction_of_a_jpeg(thickness):
    def photo(times: int) -> bytes:
        pixels = np.full((300 * times, 300 * times), 230, np.uint8)
        corners = np.int32([[120, 100], [160, 100], [140, 150]]) * times
        cv2.polylines(pixels, [corners], False, 40, thickness * times, cv2.LINE_AA)
        return file_of(Image.fromarray(pixels), "JPEG", quality=85)

    assert max(decode(photo(2)).pixels.shape) == max(decode(photo(4)).pixels.shape) == 300
    assert close(seen(photo(2)), seen(photo(1)))
    assert close(seen(photo(4)), seen(photo(1)))


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_large_pictures_are_reduced(format):
    pixels = decode(file_of(drawing().resize((4 * MAX_SIDE, 3 * MAX_SIDE)), format)).pixels
    assert MAX_SIDE / 2 < max(pixels.shape) < 2 * MAX_SIDE
    strip = decode(file_of(Image.new("L", (1, 9 * MAX_SIDE), 7), "PNG")).pixels
    assert strip.shape[1] == 1


def test_the_limit_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("MAX_PIXELS", "123")
    assert max_pixels_from_environment() == 123
    for wrong in ("", "0", "-1", "many", "1e6", "٣"):
        monkeypatch.setenv("MAX_PIXELS", wrong)
        with pytest.raises(ValueError, match="MAX_PIXELS"):
            max_pixels_from_environment()


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The file with some of its bytes changed, dropped, repeated or cut off."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 40))):
        at = rng.randrange(len(out))
        kind = rng.randrange(6)
        if kind < 2:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            out[at] = rng.choice((0, 1, 127, 128, 255))
        elif kind == 3 and len(out) > 20:
            del out[at : at + rng.randrange(1, 9)]
        elif kind == 4:
            out[at:at] = out[at : at + rng.randrange(1, 60)]
        elif len(out) > 20 and rng.random() < 0.2:
            del out[max(at, 12) :]
    return bytes(out)


MUTANTS = 250  # of each of the files


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_mutated_files_give_an_answer_or_the_right_error(format, capfd):
    sources = [file_of(drawing(28).convert("RGB"), format), file_of(drawing(28), format)]
    if format == "TIFF":
        sources += [file_of(drawing(28), format, compression=name) for name in ("tiff_lzw", "tiff_deflate", "jpeg")]
    if format == "PNG":
        sources += [file_of(in_mode(mode), format) for mode in ("P", "RGBA", "I;16")]
    rng = random.Random(f"mutants of {format}")  # noqa: S311 - the same mutants every time
    for source in sources:
        for _ in range(MUTANTS):
            pictures, (outcome,) = read([mutated(source, rng)], max_pixels=1_000_000)
            if isinstance(outcome, Reading):
                assert pictures.shape == (1, 28, 28)
                assert pictures.dtype == np.uint8
            else:
                assert (outcome.status, outcome.code) in {(413, "image_too_large"), (422, "undecodable_image")}
                assert len(pictures) == 0
    capfd.readouterr()  # libjpeg and libtiff print their complaints


def test_what_only_begins_as_a_png_has_no_size():
    with pytest.raises(UndecodableImage):
        decode(b"\x89PNG\r\n\x1a\n this is no picture")


def tiff(width, height, compression, rows, offsets, data=b"", bits=1):
    """A grey TIFF of strips of so many `rows`, at `offsets`, which may be packed SHORTs."""
    fields = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, bits), (259, 3, 1, compression), (262, 3, 1, 1),
        (273, 3, len(offsets) // 2, 8 + len(data)), (277, 3, 1, 1), (278, 4, 1, rows), (279, 4, 1, len(data)),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *field) for field in fields)
    blob = data + offsets
    return b"II*\0" + struct.pack("<I", 8 + len(blob)) + blob + struct.pack("<H", len(fields)) + entries + bytes(4)


def png_with(extra: bytes) -> bytes:
    """A PNG with further chunks before its pixels."""
    data = file_of(drawing(), "PNG")
    at = data.index(b"IDAT") - 4
    return data[:at] + extra + data[at:]


def jpeg_with_hidden_scans(count: int) -> bytes:
    """Scans behind a marker that libjpeg skips while it looks for a restart marker."""
    data = file_of(drawing(), "JPEG", progressive=True)
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00"
    hidden = b"\xff\x02" + (len(scan) * count + 2).to_bytes(2, "big") + scan * count
    return data[:-2] + hidden + data[-2:]


RLE = b"\1\5\0\0" * 2100  # a pixel, then the end of the row
BMP_RLE = struct.pack("<IHHIIiiHHIIiiII", 1078 + len(RLE), 0, 0, 1078, 40, 2100, 2100, 1, 8, 1, len(RLE), 0, 0, 256, 0)
DEAR = {
    # libwebp reads the pixels at once, of which there are 268 million; the size at the usual place says 1 x 1
    "a WebP of pixels without a header": bytes.fromhex(
        "524946463e000000574542502ffebfff1fe87ffffbdfff0000000100010000000000"
    ) + bytes(36),
    "a PNG of many compressed texts": png_with(chunk(b"zTXt", b"k\0\0" + zlib.compress(b"x")) * 17),
    "a PNG of many chunks": png_with(chunk(b"gAMA", b"\0\0\xb1\x8f") * 1001),
    "a JPEG of hidden scans": jpeg_with_hidden_scans(100),
    "a TIFF of very many strips": tiff(40, 40, 1, 1, b"\x08\0" * 200_001),
    "a TIFF whose strips repeat the same rows": tiff(100, 100, 1, 99, b"\x08\0" * 1000, bytes(1300)),
    "a TIFF of one very long row": tiff(40_000_000, 1, 4, 1, b"\x08\0", b"\x80\0\x10\1" + bytes(10)),
    "a PNG of one very long column": png_claiming(1, 1_000_001),
}  # fmt: skip


@pytest.mark.parametrize("data", DEAR.values(), ids=DEAR)
def test_small_files_that_would_take_seconds_or_gigabytes_are_refused(data):
    with pytest.raises(UndecodableImage):
        decode(data)


def test_a_large_run_length_encoded_bitmap_is_refused():
    """Pillow decodes it in Python: seconds for the pixels that others may have."""
    with pytest.raises(ImageTooLarge):
        decode(b"BM" + BMP_RLE + bytes(1024) + RLE)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "I;16", "RGB", "RGBA"])
def test_a_png_of_any_mode_with_a_wrong_checksum(mode):
    image = Image.new(mode, (8, 8)) if mode == "I;16" else in_mode("RGB").convert(mode)
    data = bytearray(file_of(image, "PNG"))
    assert decode(bytes(data)).pixels.size
    data[data.index(b"IEND") - 5] ^= 1  # the last byte of IDAT's checksum
    with pytest.raises(UndecodableImage):
        decode(bytes(data))


def test_a_tiff_of_many_strips_and_a_large_colour_map_is_read():
    strips = io.BytesIO()
    Image.new("L", (10, 3000), 255).save(strips, "TIFF", tiffinfo={278: 1})
    assert decode(strips.getvalue()).pixels.shape[0] > 500


@pytest.mark.parametrize("side", [64, 2 * MAX_SIDE])
def test_a_16_bit_tiff_of_either_byte_order(side):
    pixels = np.full((side, side), 60_000, np.uint16)
    pixels[side // 4 : 3 * side // 4, side // 2 : side // 2 + side // 10] = 3000
    pixels += np.random.default_rng(0).integers(
        0, 256, pixels.shape, np.uint16
    )  # the low byte matters if they are swapped
    little, big = (
        decode(_tiff_16(pixels.astype(order), mark)).pixels for order, mark in (("<u2", b"II*\0"), (">u2", b"MM\0*"))
    )
    assert np.array_equal(little, big)


def _tiff_16(pixels: np.ndarray, mark: bytes) -> bytes:
    order = "<" if mark[:1] == b"I" else ">"
    height, width = pixels.shape
    fields = [
        (256, 4, width), (257, 4, height), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1),
        (278, 4, height), (279, 4, pixels.nbytes),
    ]  # fmt: skip
    entries = b"".join(
        struct.pack(f"{order}HHI", tag, kind, 1)
        + (struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value))
        for tag, kind, value in fields
    )
    head = mark + struct.pack(f"{order}I", 8 + pixels.nbytes)
    return head + pixels.tobytes() + struct.pack(f"{order}H", len(fields)) + entries + bytes(4)
