"""The rows of the robustness table: what is sent, made from which pictures, and how much of it must be right."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from train import habits, mnist
from train.research import light, lines, styles, surroundings, uploads
from train.research.corruptions import SEEN, UNSEEN

N, N_HEAVY, N_QUICK = 10_000, 2_000, 60  # pictures of a row; of one whose pictures are large; with --quick
CLOSE = 0.003  # how far a redrawn MNIST may fall behind plain MNIST
REDRAWN, PHOTO, LIGHT, LINES, SHAPES, UNEVEN, SEEN_GROUP, UNSEEN_GROUP, FOREIGN, FLAGGED, WRONGLY = (
    "MNIST redrawn", "photo", "photo in uneven light", "MNIST among lines", "MNIST in other shapes", "uneven strokes",
    "MNIST-C, families also trained with", "MNIST-C, families never seen",
    "other writers", "no digits, flagged", "MNIST, flagged wrongly",
)  # fmt: skip


@dataclass
class Row:
    """One line of the table.

    group, name: as shown.
    make: yields the encoded images of `pictures`.
    labels: what they show; None where the share flagged counts instead of the share right.
    must: the least value, of a row that has one; of WRONGLY the most.
    drawn: how the pictures were made, in a few words.
    within: how far the value may fall behind that of the same pictures as they are, of a row that has that instead.
    hits: bool [n], which were right, or flagged.
    examples: the first few, as sent and as the model saw them.
    """

    group: str
    name: str
    make: uploads.Upload
    pictures: np.ndarray
    labels: np.ndarray | None = None
    must: float | None = None
    drawn: str = ""
    within: float | None = None
    hits: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    examples: list[tuple[bytes, np.ndarray]] = field(default_factory=list)

    @property
    def value(self) -> float:
        return float(self.hits.mean())

    @property
    def holds(self) -> bool | None:
        """Whether the row is as good as it must be; None where nothing is asked."""
        if self.must is None:
            return None
        return self.value <= self.must if self.group == WRONGLY else self.value >= self.must


def rows_of(quick: bool) -> list[Row]:
    """Every row, with its pictures, not yet measured."""
    many, few = (N_QUICK, N_QUICK) if quick else (N, N_HEAVY)
    test = mnist.load()[2]
    pictures, labels = test.pictures.numpy(), test.labels.numpy()

    def of_test(
        group: str, name: str, make: uploads.Upload, n: int = many, *, must: float | None = None, drawn: str = ""
    ) -> Row:
        return Row(group, name, make, pictures[:n], labels[:n], must, drawn)

    def redrawn(name: str, make: uploads.Upload, n: int = many, *, drawn: str = "") -> Row:
        return Row(REDRAWN, name, make, pictures[:n], labels[:n], drawn=drawn, within=CLOSE)

    small, written = uploads.digits_8x8()
    return [
        of_test(REDRAWN, "as it is", uploads.plain, drawn="grey PNG of 28 by 28 pixels"),
        redrawn("black on white", uploads.black_on_white, drawn="inverted"),
        *(redrawn(f"{k} times as large", uploads.enlarged(k), drawn="inverted, cubic") for k in (2, 4, 10, 40)),
        redrawn("any offset and margin", uploads.anywhere, drawn="inverted, 1 to 6 times as large"),
        redrawn("JPEG, quality 50", uploads.jpeg_50),
        redrawn("JPEG, quality 50, 8 times as large", uploads.large_jpeg_50, few, drawn="inverted, cubic"),
        redrawn("coloured ink and paper", uploads.coloured, drawn="any two colours, one channel differs by 90 levels"),
        redrawn("RGBA, black strokes", uploads.strokes_on_nothing(0), drawn="4 times as large, transparent ground"),
        redrawn("RGBA, white strokes", uploads.strokes_on_nothing(255), drawn="4 times as large, transparent ground"),
        redrawn("RGBA, pen of several colours", uploads.coloured_pen, few, drawn="4 times as large, on nothing"),
        redrawn("dim", uploads.dim, drawn="a half to a sixteenth of the contrast, half of them inverted"),
        redrawn("RGBA, transparent corners", uploads.transparent_corners, few,
                drawn="inverted; one pixel, rounded corners, or a sheet turned by up to 5 degrees"),
        of_test(PHOTO, "synthetic phone photo", uploads.photographed, few, must=0.98, drawn="told below"),
        of_test(PHOTO, "motion photo", uploads.motion_photos, few, must=0.98, drawn="with a film behind its end"),
        of_test(PHOTO, "straightened photo", uploads.straightened_photos, few, drawn="turned on a transparent ground"),
        *_in_uneven_light(pictures[:few], labels[:few]),
        *_among_lines(pictures[:few], labels[:few]),
        *_among_shapes(pictures[:few], labels[:few]),
        of_test(UNEVEN, "pencil", uploads.drawn_by(styles.pencil), few, must=0.98,
                drawn="pale where the hand presses less"),
        of_test(UNEVEN, "thin line with gaps", uploads.drawn_by(styles.gappy), few, must=0.96,
                drawn="reduced to 24 to 47 pixels without smoothing"),
        *(of_test(SEEN_GROUP, _words(corruption), uploads.corrupted(corruption)) for corruption in SEEN),
        *(of_test(UNSEEN_GROUP, _words(corruption), uploads.corrupted(corruption)) for corruption in UNSEEN),
        Row(FOREIGN, "load_digits, 8 by 8 pixels", uploads.plain, small[:many], written[:many], 0.96),
        *_written_elsewhere(test, many),
        Row(FLAGGED, "Fashion-MNIST", uploads.plain, uploads.fashion()[:many], must=0.97),
        Row(FLAGGED, "blank, one colour, noise", uploads.nothing, pictures[: min(few, 900)], must=1.0),
        Row(WRONGLY, "test set", uploads.plain, pictures[:many], must=0.012),
    ]  # fmt: skip


def _in_uneven_light(pictures: np.ndarray, labels: np.ndarray) -> list[Row]:
    drawn = {
        light.hand: (0.95, "an ellipse that ends inside the photo"),
        light.phone: (0.95, "a rectangle that ends inside the photo"),
        light.vignette: (0.95, "a lamp or a flash"),
        light.reflection: (0.95, "an ellipse or a rectangle with more light than falls on the paper"),
        light.dappled: (None, "patches of light, as through leaves"),
    }
    return [
        Row(LIGHT, _words(fall), uploads.photographed_in(fall), pictures, labels, must, how)
        for fall, (must, how) in drawn.items()
    ]


def _among_lines(pictures: np.ndarray, labels: np.ndarray) -> list[Row]:
    def among(name: str, draw: lines.Drawing, must: float | None, drawn: str) -> Row:
        return Row(LINES, name, uploads.drawn_by(draw), pictures, labels, must, drawn)

    return [
        among("cells", lines.in_cell, 0.96,
              f"{lines.CELL} pixels; lines {_to(lines.CELL_WIDTH)} wide, {_to(lines.CELL_INSET)} from the edge"),
        among("frames", lines.in_frame, 0.95,
              f"a box {_to(lines.FRAME_SIDE)} pixels tall, turned by up to {lines.FRAME_SKEW:g} degrees"),
        among("ruled paper", lines.on_ruled, 0.92,
              f"lines every {_to(lines.RULED)} pixels, digit {_to(lines.RULED_DIGIT)} lines tall"),
        among("ruled paper, small digits", lines.small_on_ruled, None,
              f"digit {_to(lines.SMALL_RULED_DIGIT)} lines tall"),
        among("squared paper", lines.on_squared, 0.85,
              f"squares of {_to(lines.SQUARED)} pixels, digit {_to(lines.SQUARED_DIGIT)} squares tall"),
        among("squared paper, small digits", lines.small_on_squared, None,
              f"digit {_to(lines.SMALL_SQUARED_DIGIT)} squares tall"),
    ]  # fmt: skip


def _among_shapes(pictures: np.ndarray, labels: np.ndarray) -> list[Row]:
    drawn = {
        surroundings.circled: (0.97, "a ring drawn round it, some not closed"),
        surroundings.underlined: (0.95, "a line below it"),
        surroundings.on_card: (0.95, "a card or a disc, darker or lighter than the digit and the ground"),
        surroundings.on_desk: (
            0.93,
            f"a sheet turned by up to {surroundings.SHEET_TURN:g} degrees, {_share(surroundings.ON_SHEET)} of it tall",
        ),
        surroundings.highlighted: (
            0.95,
            f"a patch that is {_share(surroundings.PATCH)} darker than the paper",
        ),
        surroundings.outlined: (0.93, "the outline of its strokes alone"),
        surroundings.printed: (0.93, "filled, its outline darker"),
    }
    return [
        Row(SHAPES, _words(draw), uploads.drawn_by(draw), pictures, labels, must, how)
        for draw, (must, how) in drawn.items()
    ] + [Row(SHAPES, "cut out", uploads.cut_out, pictures, labels, 0.93, "of a line of digits, with parts of others")]


def _written_elsewhere(test: mnist.Digits, most: int) -> list[Row]:
    drawn_over = habits.write(test.pictures, test.labels, habits.EVERY, torch.Generator().manual_seed(0))
    rows = []
    for label, (name, _) in habits.HABITS.items():
        pictures = drawn_over[test.labels == label][:most].numpy()
        labels = np.full(len(pictures), label)
        rows.append(Row(FOREIGN, name, uploads.plain, pictures, labels, 0.94, "drawn on MNIST's"))
    return rows


def _to(low_high: tuple[float, float]) -> str:
    return f"{low_high[0]:g} to {low_high[1]:g}"


def _share(low_high: tuple[float, float]) -> str:
    return f"{low_high[0]:.0%} to {low_high[1]:.0%}"


def _words(corruption: Callable) -> str:
    return corruption.__name__.replace("_", " ")
