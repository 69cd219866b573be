"""A picture of MNIST's -> a digit that is circled, underlined, on a card, highlighted, or outlined.

shares of ink and of what is round it, 0 to 1 a pixel -> laid on paper -> a little noise. Each function takes a picture,
uint8 [28, 28], and a random generator, and returns grey levels, uint8 [h, w]. All ranges are drawn uniformly.
"""

import cv2
import numpy as np

from train.research.lines import BOX, INK, PAPER, box_of, laid, noisy, placed

TALL = (40, 140)  # pixels; the digit's longer side
MARGIN = 0.25  # of it, round all there is
RING = (1.1, 1.4)  # of half the digit's diagonal; radius of a ring round it, either way ...
RING_GAP = 30.0  # degrees at most, that half of the rings leave open
PEN = (0.04, 0.1)  # of the digit's longer side; width of a ring or a line
BELOW = (0.13, 0.25)  # of it; how far below the digit the middle of a line is drawn
CARD = (0.1, 0.5)  # of the digit's width and height, or of its diagonal; how far a card or a disc reaches beyond it
CONTRAST = 70  # grey levels at least; between a card or a sheet and what it lies on, and between a card and the digit
ON_SHEET = (0.2, 0.7)  # of a sheet's height, that the digit on it is tall
SHEET_ASPECT = (0.7, 1.4)  # of the sheet's height; its width
SHEET_TURN = 20.0  # degrees either way
DESK = (0.1, 0.6)  # of the sheet's sides; how much larger the image is
FILL = (0.1, 0.6)  # of the paper's level; how much darker a printed digit is within its outline
PATCH = (0.1, 0.45)  # of the paper's level; how much darker a highlighter makes it
OUTLINE = (0.02, 0.05)  # of the digit's longer side; width of an outline, and a pixel


def circled(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A ring round it, drawn by hand: not quite round, some not closed."""
    tall = rng.uniform(*TALL)
    radii = _half_diagonal(picture) * tall * rng.uniform(*RING, 2)
    ink = _placed(picture, tall, 2 * radii.max())
    ring = np.zeros_like(ink)
    end = 360 - rng.uniform(0, RING_GAP) * (rng.random() < 0.5)
    middle, width = ((len(ink) - 1) // 2,) * 2, max(round(tall * rng.uniform(*PEN)), 1)
    cv2.ellipse(ring, middle, radii.astype(int).tolist(), rng.uniform(0, 360), 0, end, 1, width)
    return _drawn(np.maximum(ink, ring), rng)


def underlined(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A line below it, nearly level."""
    tall = rng.uniform(*TALL)
    ink = _placed(picture, tall, 1.5 * tall)
    bottom = int(np.flatnonzero((ink > 0.3).any(axis=1))[-1] + tall * rng.uniform(*BELOW))
    ends = [int(v) for v in len(ink) / 2 + tall * rng.uniform(0.35, 0.6, 2) * (-1, 1)]
    rise = int(tall * rng.uniform(-0.05, 0.05))
    width = max(round(tall * rng.uniform(*PEN)), 1)
    line = cv2.line(np.zeros_like(ink), (ends[0], bottom), (ends[1], bottom + rise), 1, width)
    return _drawn(np.maximum(ink, line), rng)


def on_card(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """On a card or, half of them, a disc of another level than what it lies on."""
    tall = rng.uniform(*TALL)
    ground = rng.uniform(0, 255)
    card = _apart(ground, rng)
    ink, reach = _on(picture, tall, rng, disc=rng.random() < 0.5)
    return noisy(laid(laid(ground, card, reach), _apart(card, rng), ink), rng)


def on_desk(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """On a sheet of paper that lies on a desk, turned with the digit on it."""
    tall = rng.uniform(*TALL)
    sheet = tall / rng.uniform(*ON_SHEET) * np.array([rng.uniform(*SHEET_ASPECT), 1])
    shape = tuple(int(side) for side in (sheet * (1 + rng.uniform(*DESK, 2)))[::-1])
    middle = (np.array(shape[::-1]) - 1) / 2
    paper = rng.uniform(*PAPER)
    desk = min(_apart(paper, rng), 255) if rng.random() < 0.5 else rng.uniform(0, paper - CONTRAST)
    angle = rng.uniform(-1, 1) * SHEET_TURN
    corners = cv2.boxPoints((middle.tolist(), sheet.tolist(), angle))
    turned = cv2.fillPoly(np.zeros(shape, np.float32), [corners.astype(np.int32)], 1, cv2.LINE_AA)
    room = np.maximum(sheet - 1.3 * tall, 0) / 2
    ink = placed(picture, shape, tall, rng.uniform(-0.8, 0.8, 2) * room)
    ink = cv2.warpAffine(ink, cv2.getRotationMatrix2D(middle.tolist(), -angle, 1), shape[::-1])
    return noisy(laid(laid(desk, paper, turned), rng.uniform(*INK), ink), rng)


def printed(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Printed in colours: filled with one, its outline drawn with a darker one."""
    tall = rng.uniform(*TALL)
    ink = _placed(picture, tall, 1.5 * tall)
    pen = max(round(tall * rng.uniform(*OUTLINE)), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pen + 1,) * 2)
    paper, fill = rng.uniform(*PAPER), rng.uniform(*FILL)
    whole = cv2.dilate(ink, kernel)
    body = laid(paper, paper * (1 - fill), whole)
    outline = np.clip(whole - cv2.erode(ink, np.ones((3, 3), np.uint8)), 0, 1)
    return noisy(laid(body, rng.uniform(*INK) / 2, outline), rng)


def highlighted(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """In a patch that a highlighter has made somewhat darker than the paper."""
    paper = rng.uniform(*PAPER)
    ink, reach = _on(picture, rng.uniform(*TALL), rng, disc=False)
    return noisy(laid(laid(paper, paper * (1 - rng.uniform(*PATCH)), reach), rng.uniform(*INK), ink), rng)


def outlined(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The outline of its strokes alone."""
    tall = rng.uniform(*TALL)
    _, solid = cv2.threshold(_placed(picture, tall, tall), 0.5, 1, cv2.THRESH_BINARY)
    width = max(round(tall * rng.uniform(*OUTLINE)), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width + 2, width + 2))
    return _drawn(cv2.morphologyEx(solid, cv2.MORPH_GRADIENT, kernel), rng)


def _half_diagonal(picture: np.ndarray) -> float:
    """Of the digit's box, as a share of its longer side."""
    width, height = box_of(picture)[2:]
    return float(np.hypot(width, height) / max(width, height) / 2)


def _placed(picture: np.ndarray, tall: float, across: float) -> np.ndarray:
    """Ink's share, float32 [s, s]: the digit `tall` pixels tall in the middle of `across` pixels and a margin."""
    side = round(across + 2 * MARGIN * tall)
    left, top, width, height = box_of(picture)
    off = np.array([left + width / 2, top + height / 2]) - len(picture) / 2
    return placed(picture, (side, side), tall, -off * tall / BOX)


def _on(picture: np.ndarray, tall: float, rng: np.random.Generator, *, disc: bool) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the ink, and of a card or a disc round it, float32 [s, s] each."""
    room = 1 + 2 * rng.uniform(*CARD)
    ink = _placed(picture, tall, room * tall * (2 * _half_diagonal(picture) if disc else 1))
    left, top, width, height = cv2.boundingRect((ink > 0.3).astype(np.uint8))
    half = room * np.array([width, height]) / 2 + 1
    middle = np.array([left + width / 2, top + height / 2])
    card = np.zeros_like(ink)
    if disc:
        cv2.circle(card, middle.astype(int).tolist(), int(np.hypot(width, height) / 2 * room), 1, -1)
    else:
        first, last = (middle - half).astype(int).tolist(), (middle + half).astype(int).tolist()
        cv2.rectangle(card, first, last, 1, -1)
    return ink, card


def _apart(level: float, rng: np.random.Generator) -> float:
    """Another level, CONTRAST away at least."""
    darker, lighter = max(level - CONTRAST, 0), max(255 - level - CONTRAST, 0)
    at = rng.uniform(0, darker + lighter)
    return at if at < darker else level + CONTRAST + at - darker


def _drawn(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return noisy(laid(rng.uniform(*PAPER), rng.uniform(*INK), ink), rng)
