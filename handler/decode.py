"""Bytes as uploaded -> pixels: uint8 [h, w] grey, [h, w, 3] RGB or [h, w, 4] RGBA, side at most about MAX_SIDE.

format from the first bytes -> size from the header, against the limit -> OpenCV for most PNG, JPEG and WebP, Pillow for
the rest -> reduced while large, turned as EXIF says. Whatever a library raises becomes a PictureError:

    PictureError            .status  .code  .message
    ├── EmptyImage          400 empty_image
    ├── ImageTooLarge       413 image_too_large
    └── UndecodableImage    422 undecodable_image
"""

import os
import warnings
from contextlib import suppress
from io import BytesIO
from struct import Struct
from typing import ClassVar, NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import TiffImageFile

from header import CutOff, jpeg_header, png_chunks, png_is_sound, tiff_most_values, webp_size
from reduction import reduced_in_parts

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 40_000_000  # default limit, of the header's width times height
MAX_SIDE = 1000  # larger pictures are box-filtered by a whole factor: a digit needs no more than its 20 pixels
JPEG_SIDE = 256  # ... and a JPEG is decoded at the smallest scale whose longer side is no shorter than this
# What files may have that makes them dear to decode; cameras and programs write far less.
LONGEST = 1_000_000  # pixels a side: decoders keep some bytes for each row or column
MAX_SCANS = 32  # of a JPEG; encoders write about ten, and each costs a pass over the whole picture
MAX_CHUNKS = 1000  # of a PNG, but for pixels: each may be a line in the log
MAX_TEXTS = 16  # compressed ones in a PNG: each is inflated
MAX_VALUES = 200_000  # of a TIFF's tag; a colour map has 196,608
MAX_RLE_PIXELS = 4_000_000  # of a run-length encoded BMP, which Pillow decodes in Python

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_SAY = "send a PNG, JPEG, WebP, GIF, BMP or TIFF picture"
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis")

cv2.setNumThreads(1)  # a worker owns one core; its neighbours need theirs
warnings.filterwarnings("ignore", module=r"PIL\.")  # about each odd tag of each odd file; the limit is checked here


class PictureError(Exception):
    """A picture that cannot be read; `message` is one public sentence that says what to do."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class EmptyImage(PictureError):
    status = 400
    code = "empty_image"


class ImageTooLarge(PictureError):
    status = 413
    code = "image_too_large"


class UndecodableImage(PictureError):
    status = 422
    code = "undecodable_image"


class Decoded(NamedTuple):
    """Pixels of a picture, and whether its format may have changed them slightly (JPEG, WebP)."""

    pixels: np.ndarray
    lossy: bool


def max_pixels_from_environment() -> int:
    """MAX_PIXELS as set in the environment, or the default. Raises ValueError naming the variable."""
    value = os.environ.get("MAX_PIXELS", str(MAX_PIXELS))
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise ValueError(f"MAX_PIXELS must be a positive whole number, not {value!r}")
    return int(value)


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Pixels of the first frame of an image file, upright.

    Raises:
        EmptyImage, ImageTooLarge, UndecodableImage: and nothing else, whatever the bytes.
    """
    try:
        if data[:8] == _PNG:
            return _png(data, max_pixels)
        if data[:3] == _JPEG:
            return _jpeg(data, max_pixels)
        if not data:
            raise EmptyImage(f"The image is empty: {_SAY}.")
        return _other(data, max_pixels)
    except PictureError:
        raise
    except CutOff as error:
        raise _undecodable("the file is cut off") from error.with_traceback(None)
    except Image.DecompressionBombError as error:  # without its traceback, whose frames would hold the pixels
        raise _too_large(max_pixels) from error.with_traceback(None)
    except Exception as error:  # mutated files make the libraries raise nearly anything, MemoryError included
        raise _undecodable() from error.with_traceback(None)


def _png(data: bytes, max_pixels: int) -> Decoded:
    name, width, height, depth, kind = _IHDR.unpack_from(data, 12)
    if name != b"IHDR":
        raise _undecodable()
    _check_size(width, height, max_pixels)
    chunks = png_chunks(data)  # OpenCV would take memory for a chunk of whatever length it claims
    if chunks[-1:] != [b"IEND"]:
        raise CutOff
    if len(chunks) - chunks.count(b"IDAT") > MAX_CHUNKS or chunks.count(b"zTXt") + chunks.count(b"iTXt") > MAX_TEXTS:
        raise _undecodable("a PNG of too many chunks")
    if depth != 8 or kind not in _PNG_FLAGS or b"tRNS" in chunks or b"acTL" in chunks:
        if not png_is_sound(data):  # Pillow does not look
            raise _undecodable("a PNG with a wrong checksum")
        return Decoded(_with_pillow(data, max_pixels), lossy=False)
    flag = _PNG_FLAGS[kind]
    return Decoded(_with_alpha(data) if flag is None else _with_opencv(data, flag), lossy=False)


_IHDR = Struct("!4sIIBB")
# By PNG's type of colour: grey, RGB, RGBA.
_PNG_FLAGS = {0: cv2.IMREAD_GRAYSCALE, 2: cv2.IMREAD_COLOR_RGB, 6: None}


def _jpeg(data: bytes, max_pixels: int) -> Decoded:
    width, height, components, scans, end = jpeg_header(data)
    _check_size(width, height, max_pixels)
    if scans > MAX_SCANS:
        raise _undecodable("a JPEG of too many scans")
    data = data[:end]
    if components not in (1, 3):  # CMYK: OpenCV does not know Adobe's inverted inks
        return Decoded(_with_pillow(data, max_pixels), lossy=True)
    scale = next((s for s in (8, 4, 2) if max(width, height) >= s * JPEG_SIDE), 1)
    colours = cv2.IMREAD_COLOR_RGB if components == 3 else 0
    return Decoded(_with_opencv(data, _JPEG_SCALES[scale] | colours), lossy=True)


# The decoder's own reduction happens inside the inverse cosine transform. Digits of 27 pixels lose nothing by it.
_JPEG_SCALES = {
    1: cv2.IMREAD_GRAYSCALE,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


def _other(data: bytes, max_pixels: int) -> Decoded:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        raise UndecodableImage("HEIC and AVIF pictures are not read: save it as JPEG or PNG and send that.")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        _check_size(*webp_size(data), max_pixels)
        return Decoded(_with_alpha(data), lossy=True)
    return Decoded(_with_pillow(data, max_pixels), lossy=False)


def _with_opencv(data: bytes, flag: int) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if pixels is None:
        raise _undecodable()
    return _reduced(pixels)


def _with_alpha(data: bytes) -> np.ndarray:
    """RGBA, or RGB where there is no alpha. The flag that keeps alpha gives BGR and leaves EXIF's orientation to us."""
    pixels, kinds, metadata = cv2.imdecodeWithMetadata(np.frombuffer(data, np.uint8), flags=cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise _undecodable()
    pixels = _reduced(pixels)  # first: the conversion makes a copy
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    tags = Image.Exif()
    for kind, found in zip(kinds, metadata, strict=True):
        if kind == cv2.IMAGE_METADATA_EXIF:
            with suppress(Exception):  # mutated tags are no reason to refuse the picture
                tags.load(found.tobytes())
    return _upright(pixels, tags.get(ExifTags.Base.Orientation, 1))


def _reduced(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    if max(height, width) < 2 * MAX_SIDE:  # as all small pictures
        return pixels
    return reduced_in_parts(lambda left, top, right, bottom: pixels[top:bottom, left:right], width, height, MAX_SIDE)


def _with_pillow(data: bytes, max_pixels: int) -> np.ndarray:
    if data[:2] in (b"II", b"MM") and tiff_most_values(data) > MAX_VALUES:
        raise _undecodable("a TIFF of too many parts")
    with Image.open(BytesIO(data), formats=FORMATS) as image:
        _check_size(*image.size, max_pixels)
        if isinstance(image, TiffImageFile):
            _check_tiff(image, max_pixels)
        if image.tile and image.tile[0][0] == "bmp_rle":
            _check_size(*image.size, min(max_pixels, MAX_RLE_PIXELS))
        image.draft(None, (JPEG_SIDE, JPEG_SIDE))
        image.load()
        width, height = image.size
        _check_size(width, height, max_pixels)
        pixels = reduced_in_parts(lambda *box: _pixels(image.crop(box)), width, height, MAX_SIDE)
        if pixels.dtype != np.uint8:
            pixels = _stretched(pixels)
        return _upright(pixels, image.getexif().get(ExifTags.Base.Orientation, 1))


def _check_tiff(image: TiffImageFile, max_pixels: int) -> None:
    """Refuse tiles larger than the limit, which are taken whole, and more of them than the planes of a picture have."""
    tags = image.tag_v2
    _check_size(tags.get(322, 1), tags.get(323, 1), max_pixels)
    boxes = [box for _, box, *_ in image.tile if box]
    decoded = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
    if decoded > max(4, tags.get(277, 1)) * image.width * image.height:
        raise _undecodable("a TIFF of too many parts")


def _pixels(image: Image.Image) -> np.ndarray:
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return np.asarray(image.convert("L"))
    if image.mode[0] in "IF":
        wide = np.asarray(image)
        wide = wide.astype(wide.dtype.newbyteorder("="), copy=False)  # OpenCV takes no notice of the order of bytes
        return wide.astype(np.float64) if wide.dtype == np.int32 else wide  # OpenCV reduces no int32
    return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def _stretched(wide: np.ndarray) -> np.ndarray:
    """Uint8 of wide integers or floats: they have no fixed white, so what is there becomes 0 to 255."""
    wide = np.nan_to_num(wide.astype(np.float64), posinf=0, neginf=0)
    low, high = wide.min(), wide.max()
    return ((wide - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turned and mirrored as EXIF's orientation, 1 to 8, asks."""
    if orientation not in range(2, 9):
        return pixels
    if orientation > 4:
        pixels = pixels.swapaxes(0, 1)
    down = -1 if orientation in (3, 4, 7, 8) else 1
    across = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(pixels[::down, ::across])


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise _undecodable("without any pixels")
    if width * height > max_pixels:
        raise _too_large(max_pixels)
    if max(width, height) > LONGEST:
        raise _undecodable("longer than any picture")


def _too_large(max_pixels: int) -> ImageTooLarge:
    return ImageTooLarge(f"The image has more than {max_pixels} pixels: send a smaller one.")


def _undecodable(why: str = "") -> UndecodableImage:
    return UndecodableImage(f"The image cannot be read{why and f' ({why})'}: {_SAY}.")
