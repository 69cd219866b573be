"""A picture of MNIST's -> a digit written where lines are: in a cell, in a form's box, on ruled or squared paper.

shares of ink and of lines, 0 to 1 a pixel -> laid on paper -> a little noise. Each function takes a picture, uint8
[28, 28], and a random generator, and returns dark ink on light paper, uint8 [h, w] or [h, w, 3] (BGR, as OpenCV encodes
it). All ranges are drawn uniformly; docs/pictures.md repeats them.
"""

from collections.abc import Callable

import cv2
import numpy as np

from digit import SIDE

Drawing = Callable[[np.ndarray, np.random.Generator], np.ndarray]
BOX = 20  # pixels; an MNIST digit's longer side
PAPER = (190, 255)  # grey level
INK = (0, 100)  # likewise
LINE = (0, 160)  # of printed frames, likewise ...
PALE = (60, 190)  # ... of lines to write on, which are at least ...
FAINTEST = 25  # ... this much darker than the paper
NOISE = (0.0, 4.0)  # grey levels; standard deviation

CELL = 80  # pixels; side of a cell as cut out of a sheet
CELL_DIGIT = (56, 80)  # pixels; side of the 28x28 picture in it
CELL_OFFSET = 3  # pixels; from the middle, either way
CELL_INSET = (0, 8)  # pixels; of a line from its edge
CELL_WIDTH = (1, 4)  # pixels; of a line

FRAME_SIDE = (60, 160)  # pixels; height of a form's box, and its width as a share of that ...
FRAME_ASPECT = (0.75, 1.3)
FRAME_MARGIN = (2, 14)  # pixels; around it
FRAME_SKEW = 2.0  # degrees either way
FRAME_DIGIT = (0.45, 0.75)  # height of the digit as a share of the box's shorter side

SKEW = 2.0  # degrees either way, of ruled and squared paper
RULED = (30, 60)  # pixels between lines
RULED_WIDTH = (1.0, 3.0)  # pixels
RULED_DIGIT = (1.5, 3.0)  # lines that the digit is tall
MARGIN_SHARE = 0.3  # of the ruled sheets have a line down one side
SQUARED = (15, 40)  # pixels
SQUARED_WIDTH = (1.0, 2.0)
SQUARED_DIGIT = (3.0, 6.0)  # squares that the digit is tall
SMALL_RULED_DIGIT, SMALL_SQUARED_DIGIT = (0.9, 1.5), (1.5, 3.0)  # what is harder
ROOM = (1.4, 2.5)  # side of a sheet in digits


def in_cell(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A cell of a table or puzzle: at least one of the four lines shows, each along the whole edge."""
    ink = placed(picture, (CELL, CELL), rng.uniform(*CELL_DIGIT) / SIDE * BOX, rng.uniform(-1, 1, 2) * CELL_OFFSET)
    lines = np.zeros((CELL, CELL), np.float32)
    shown = int(rng.integers(1, 16))  # one bit for each line
    for side in range(4):
        inset, width = (
            int(rng.integers(CELL_INSET[0], CELL_INSET[1] + 1)),
            int(rng.integers(CELL_WIDTH[0], CELL_WIDTH[1] + 1)),
        )
        if shown >> side & 1:
            np.rot90(lines, side)[inset : inset + width] = 1
    return _printed(ink, lines, rng.uniform(*LINE), rng)


def in_frame(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A form's box as a whole, with a margin around it, slightly turned."""
    tall = rng.uniform(*FRAME_SIDE)
    wide = tall * rng.uniform(*FRAME_ASPECT)
    margin, width = rng.uniform(*FRAME_MARGIN), rng.uniform(*CELL_WIDTH)
    shape = round(tall + 2 * margin), round(wide + 2 * margin)
    down, across = _turned(shape, rng.uniform(-FRAME_SKEW, FRAME_SKEW))
    lines = _line(np.maximum(abs(down) - tall / 2, abs(across) - wide / 2), width)
    height = min(tall, wide) * rng.uniform(*FRAME_DIGIT)
    room = np.maximum(np.array([wide, tall]) - height - 4 * width, 0) / 2
    return _printed(placed(picture, shape, height, rng.uniform(-0.7, 0.7, 2) * room), lines, rng.uniform(*LINE), rng)


def on_ruled(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ruled paper, lines of any colour, the digit at least one and a half lines tall."""
    return _ruled(picture, RULED_DIGIT, rng)


def small_on_ruled(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ruled paper, the digit about one line tall: harder."""
    return _ruled(picture, SMALL_RULED_DIGIT, rng)


def on_squared(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Squared paper, lines of any colour, the digit at least three squares tall."""
    return _squared(picture, SQUARED_DIGIT, rng)


def small_on_squared(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Squared paper, the digit one and a half to three squares tall: harder."""
    return _squared(picture, SMALL_SQUARED_DIGIT, rng)


def _ruled(picture: np.ndarray, tall: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    step = rng.uniform(*RULED)
    ink, (down, across) = _written(picture, step * rng.uniform(*tall), rng)
    lines = _every(step, down, rng.uniform(*RULED_WIDTH), rng)
    if rng.random() < MARGIN_SHARE:
        beside = rng.choice([-1, 1]) * rng.uniform(0.3, 0.5) * across.max()
        lines = np.maximum(lines, _line(across - beside, rng.uniform(*RULED_WIDTH)))
    return _on_lines(ink, lines, rng)


def _squared(picture: np.ndarray, tall: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    step, width = rng.uniform(*SQUARED), rng.uniform(*SQUARED_WIDTH)
    ink, (down, across) = _written(picture, step * rng.uniform(*tall), rng)
    return _on_lines(ink, np.maximum(_every(step, down, width, rng), _every(step, across, width, rng)), rng)


def _written(
    picture: np.ndarray, height: float, rng: np.random.Generator
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Ink of a digit this tall, anywhere on a sheet, and the sheet's turned rows and columns."""
    shape = round(height * rng.uniform(*ROOM)), round(height * rng.uniform(*ROOM))
    room = (np.array(shape[::-1]) - height * 1.25) / 2
    ink = placed(picture, shape, height, rng.uniform(-1, 1, 2) * room)
    return ink, _turned(shape, rng.uniform(-SKEW, SKEW))


def box_of(picture: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, width and height of the digit in a picture of MNIST's."""
    left, top, width, height = cv2.boundingRect((picture > 60).astype(np.uint8))
    return left, top, width, height


def placed(picture: np.ndarray, shape: tuple[int, int], height: float, offset: np.ndarray) -> np.ndarray:
    """Ink's share, float32 `shape`: the digit `height` pixels tall, `offset` (across, down) from the middle."""
    scale = height / BOX
    middle = np.array([shape[1] - 1, shape[0] - 1]) / 2 + offset - scale * (SIDE - 1) / 2
    place = np.hstack([np.eye(2) * scale, middle[:, None]])
    ink = cv2.warpAffine(picture.astype(np.float32) / 255, place, shape[::-1], flags=cv2.INTER_CUBIC)
    return np.clip(ink, 0, 1)


def _turned(shape: tuple[int, int], degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns from the middle of a sheet that is turned by `degrees`, float [h, w] each, in pixels."""
    down, across = (axis - (side - 1) / 2 for axis, side in zip(np.indices(shape), shape, strict=True))
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return down * cos - across * sin, down * sin + across * cos


def _every(step: float, along: np.ndarray, width: float, rng: np.random.Generator) -> np.ndarray:
    """Parallel lines, `step` pixels apart, the first anywhere."""
    return _line((along + rng.uniform(0, step)) % step - step / 2, width)


def _line(distance: np.ndarray, width: float) -> np.ndarray:
    """A line's share of each pixel, at this distance from its middle."""
    return np.clip(width / 2 + 0.5 - abs(distance), 0, 1)


def _printed(ink: np.ndarray, lines: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Grey sheet with lines of `level`."""
    return noisy(laid(laid(rng.uniform(*PAPER), level, lines), rng.uniform(*INK), ink), rng)


def _on_lines(ink: np.ndarray, lines: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sheet with lines of a pale colour."""
    paper = rng.uniform(*PAPER)
    colour = np.minimum(rng.uniform(*PALE, 3), paper - FAINTEST)
    return noisy(laid(laid(paper, colour, lines[..., None]), rng.uniform(*INK), ink[..., None]), rng)


def laid(below: np.ndarray | float, colour: np.ndarray | float, share: np.ndarray) -> np.ndarray:
    return below * (1 - share) + colour * share


def noisy(sheet: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(sheet + rng.normal(0, rng.uniform(*NOISE), sheet.shape), 0, 255).astype(np.uint8)
