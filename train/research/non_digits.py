"""What is not one digit: clothes, letters, scribbles, two digits, empty cells and sheets, noise.

Each function takes pictures of MNIST's, uint8 [n, 28, 28], and a random generator, and returns n images, uint8. The
verdict learns from them what to flag (calibrate.py).
"""

import gzip
from collections.abc import Callable
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from train.research import lines, uploads

NonDigit = Callable[[np.ndarray, np.random.Generator], list[np.ndarray]]
CLOTHES = uploads.FASHION.with_name("train-images-idx3-ubyte.gz")
LETTERS = "ACDEFGHJKLMNPRTUVWXYabdefhkmnprtuvwxy&%#@+?"  # without those that look like a digit
FONTS = sorted(Path(matplotlib.get_data_path(), "fonts/ttf").glob("[DSc]*.ttf"))  # DejaVu, STIX, Computer Modern
SIDES = (28, 64, 140)  # pixels


def clothes(pictures: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Fashion-MNIST's training pictures, half of them inverted. Raises FileNotFoundError saying what to install."""
    if not CLOTHES.exists():
        raise FileNotFoundError(f"{CLOTHES} is missing; `apt-get install dataset-fashion-mnist` brings it")
    every = np.frombuffer(gzip.decompress(CLOTHES.read_bytes()), np.uint8)[16:].reshape(-1, 28, 28)
    chosen = every[rng.choice(len(every), len(pictures), replace=False)]
    return [255 - picture if i % 2 else picture for i, picture in enumerate(chosen)]


def letters(pictures: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Letters and signs of any of matplotlib's fonts, turned by up to 15 degrees."""
    found = []
    for _ in pictures:
        side, ink = int(rng.choice(SIDES)), int(rng.integers(0, 90))
        font = ImageFont.truetype(str(FONTS[int(rng.integers(len(FONTS)))]), int(side * rng.uniform(0.5, 0.9)))
        image = Image.new("L", (side, side), 255)
        letter = str(rng.choice(list(LETTERS)))
        ImageDraw.Draw(image).text((side / 2, side / 2), letter, fill=ink, font=font, anchor="mm")
        found.append(np.asarray(image.rotate(rng.uniform(-15, 15), fillcolor=255)))
    return found


def strokes(pictures: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Letters drawn with one pen, of any width and slant."""
    found = []
    for _ in pictures:
        letter, font = str(rng.choice(list(LETTERS))), int(rng.integers(8))
        scale, width = rng.uniform(2, 4.5), int(rng.integers(2, 14))
        sheet = np.full((160, 160), 255, np.uint8)
        (wide, high), _ = cv2.getTextSize(letter, font, scale, width)
        place = ((160 - wide) // 2, (160 + high) // 2)
        cv2.putText(sheet, letter, place, font, scale, int(rng.integers(0, 90)), width, cv2.LINE_AA)
        turn = cv2.getRotationMatrix2D((80, 80), rng.uniform(-12, 12), 1)
        turn[0, 1] += rng.uniform(-0.2, 0.2)
        found.append(cv2.warpAffine(sheet, turn, (160, 160), borderValue=255))
    return found


def scribbles(pictures: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Two to six straight strokes in a row."""
    found = []
    for _ in pictures:
        side = int(rng.choice(SIDES))
        sheet = np.full((side, side), 255, np.uint8)
        corners = (rng.uniform(0.15, 0.85, (int(rng.integers(3, 8)), 2)) * side).astype(np.int32)
        width = max(int(side * rng.uniform(0.02, 0.08)), 1)
        cv2.polylines(sheet, [corners], bool(rng.random() < 0.3), 0, width, cv2.LINE_AA)
        found.append(sheet)
    return found


def pairs(pictures: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Two digits beside each other, near or touching."""
    found = []
    for first, second in zip(pictures, rng.permutation(pictures), strict=True):
        nearer, times = int(rng.integers(4, 14)), rng.uniform(1, 5)
        apart = 28 - nearer
        both = np.maximum(np.pad(first, ((0, 0), (0, apart))), np.pad(second, ((0, 0), (apart, 0))))
        found.append(255 - cv2.resize(both, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC))
    return found


def empty(pictures: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Cells, boxes and sheets without a digit."""
    kinds = lines.in_cell, lines.in_frame, lines.on_ruled, lines.on_squared
    return [kinds[i % len(kinds)](np.zeros_like(picture), rng) for i, picture in enumerate(pictures)]


def noise(pictures: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    found = (np.frombuffer(image, np.uint8) for image in uploads.nothing(pictures, rng))
    return [cv2.imdecode(image, cv2.IMREAD_UNCHANGED) for image in found]


NON_DIGITS: tuple[NonDigit, ...] = (clothes, letters, strokes, scribbles, pairs, empty, noise)
