"""Several readings of an image: digits among lines are read, and an ordinary drawing pays for one reading only."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from decode import UndecodableImage
from forward import on_cpu
from reader import Origin, Reading, read
from train import onnx_graph
from train.own_model import WEIGHTS
from train.pack import load_weights
from train.research import lines, surroundings
from train.research.uploads import png
from verdict import judge, load
from vote import settle

SAMPLES = [
    cv2.imread(str(Path(__file__).parents[2] / f"samples/{label}.png"), cv2.IMREAD_GRAYSCALE) for label in range(10)
]
LIMITS = load()


@pytest.fixture(scope="module")
def forward(tmp_path_factory):
    graph = tmp_path_factory.mktemp("net") / "lenet.onnx"
    graph.write_bytes(onnx_graph.build(load_weights(WEIGHTS)))
    return on_cpu(graph)


def rendered(drawing: lines.Drawing, times: int = 6) -> list[bytes]:
    rng = np.random.default_rng(0)
    return [png(drawing(sample, rng)) for _ in range(times) for sample in SAMPLES]


@pytest.mark.parametrize(
    ("drawing", "least"),
    [(lines.in_cell, 0.96), (lines.in_frame, 0.95), (lines.on_ruled, 0.92), (lines.on_squared, 0.85)],
)
def test_digits_among_lines_are_read(forward, drawing, least):
    images = rendered(drawing)
    settled = settle(*read(images), forward, LIMITS)
    labels = np.tile(np.arange(10), len(images) // 10)
    assert (settled.logits.argmax(axis=1) == labels).mean() >= least


@pytest.mark.parametrize(
    ("drawing", "least"),
    [
        (surroundings.circled, 0.96),
        (surroundings.underlined, 0.96),
        (surroundings.on_card, 0.93),
        (surroundings.highlighted, 0.96),
        (surroundings.outlined, 0.9),
    ],
)
def test_digits_in_other_shapes_are_read(forward, drawing, least):
    images = rendered(drawing)
    settled = settle(*read(images), forward, LIMITS)
    labels = np.tile(np.arange(10), len(images) // 10)
    assert (settled.logits.argmax(axis=1) == labels).mean() >= least


def test_a_filled_outline_keeps_the_images_warnings(forward):
    outlined = surroundings.outlined(SAMPLES[7], np.random.default_rng(0))
    settled = settle(*read([png(outlined)]), forward, LIMITS)
    [outcome] = settled.outcomes
    assert isinstance(outcome, Reading)
    assert (settled.logits.argmax(), outcome.origin) == (7, Origin.CHOSEN)
    assert "inverted" in outcome.warnings


def test_a_ring_round_the_digit_is_no_second_shape(forward):
    ring = cv2.copyMakeBorder(cv2.resize(SAMPLES[2], (84, 84)), 30, 30, 30, 30, cv2.BORDER_CONSTANT)
    cv2.circle(ring, (72, 72), 55, 255, 5)
    settled = settle(*read([png(255 - ring)]), forward, LIMITS)
    [judgement] = judge(settled.logits, settled.pictures, settled.outcomes, LIMITS)
    assert (settled.logits.argmax(), judgement.verdict) == (2, "digit")


@pytest.mark.parametrize("times", [2, 5, 9])
def test_digits_that_fill_their_image_are_read(forward, times):
    images = []
    for sample in SAMPLES:
        left, top, width, height = cv2.boundingRect((sample > 60).astype(np.uint8))
        digit = sample[top : top + height, left : left + width]
        images.append(png(255 - cv2.resize(digit, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)))
    settled = settle(*read(images), forward, LIMITS)
    assert settled.logits.argmax(axis=1).tolist() == list(range(10))


def test_what_shines_through_from_the_back_is_no_part_of_the_digit(forward):
    images = []
    for sample, back in zip(SAMPLES, SAMPLES[1:] + SAMPLES[:1], strict=True):
        front = cv2.resize(sample, (140, 140), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        behind = np.roll(cv2.resize(back, (140, 140), interpolation=cv2.INTER_CUBIC)[:, ::-1], 45, axis=1)
        behind = cv2.GaussianBlur(behind, (0, 0), 2)
        images.append(png((255 - np.maximum(front, 0.2 * behind)).astype(np.uint8)))
    settled = settle(*read(images), forward, LIMITS)
    assert (settled.logits.argmax(axis=1) == np.arange(10)).sum() >= 9


def test_two_digits_stay_several_shapes(forward):
    two = np.zeros((60, 110), np.uint8)
    two[2:58, 2:58] = cv2.resize(SAMPLES[4], (56, 56))
    two[2:58, 52:108] = np.maximum(two[2:58, 52:108], cv2.resize(SAMPLES[7], (56, 56)))
    settled = settle(*read([png(255 - two)]), forward, LIMITS)
    [outcome] = settled.outcomes
    assert isinstance(outcome, Reading)
    assert "several_shapes" in outcome.warnings


@pytest.mark.parametrize("inset", [0, 4, 8])
@pytest.mark.parametrize("sides", ["left", "top", "left top", "bottom", "left top right bottom"])
def test_every_sample_in_a_cell(forward, inset, sides):
    images = []
    for sample in SAMPLES:
        cell = np.zeros((80, 80), np.uint8)
        cell[11:69, 11:69] = cv2.resize(sample, (58, 58), interpolation=cv2.INTER_CUBIC)
        for turns, side in enumerate(("top", "left", "bottom", "right")):
            if side in sides.split():
                np.rot90(cell, -turns)[inset : inset + 2] = 200
        images.append(png(255 - cell))
    settled = settle(*read(images), forward, LIMITS)
    assert (settled.logits.argmax(axis=1) == np.arange(10)).sum() >= 9


@pytest.mark.parametrize("times", [1.5, 4, 10])
def test_a_drawing_with_a_margin_has_one_reading(times):
    drawings = [png(255 - cv2.resize(s, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)) for s in SAMPLES]
    readings = read(drawings)[1]
    assert [reading.others for reading in readings] == [()] * 10
    assert {reading.origin for reading in readings} == {Origin.READ}


def test_the_winner_takes_its_images_place_and_errors_keep_theirs(forward):
    frame = np.zeros((100, 100), np.uint8)
    cv2.rectangle(frame, (8, 8), (91, 91), 255, 3)
    frame[22:78, 22:78] = np.maximum(frame[22:78, 22:78], cv2.resize(SAMPLES[3], (56, 56)))
    images = [png(SAMPLES[7]), b"no image", png(255 - frame), png(SAMPLES[1])]
    pictures, outcomes = read(images)
    settled = settle(pictures, outcomes, forward, LIMITS)
    assert settled.logits.argmax(axis=1).tolist() == [7, 3, 1]
    assert np.array_equal(settled.pictures[[0, 2]], pictures[[0, 2]])
    assert not np.array_equal(settled.pictures[1], pictures[1])
    assert settled.outcomes[0] == Reading()
    assert isinstance(settled.outcomes[1], UndecodableImage)
    assert (settled.outcomes[2].origin, settled.outcomes[2].others) == (Origin.CHOSEN, ())
    assert np.array_equal(settled.logits, forward(settled.pictures))


@pytest.mark.parametrize("drawing", [lines.in_cell, lines.in_frame, lines.on_ruled, lines.on_squared])
def test_lines_without_a_digit_are_no_digit(forward, drawing):
    rng = np.random.default_rng(0)
    nothing = np.zeros((28, 28), np.uint8)
    settled = settle(*read([png(drawing(nothing, rng)) for _ in range(20)]), forward, LIMITS)
    readings = [outcome for outcome in settled.outcomes if isinstance(outcome, Reading)]
    judgements = judge(settled.logits, settled.pictures, readings, LIMITS)
    # Of 200 each 1, 2, 1 and 5 pass as digits: what is left of a line may look like a one.
    assert [judgement.verdict for judgement in judgements].count("digit") <= 2


def test_nothing_to_settle(forward):
    settled = settle(*read([b"no image"]), forward, LIMITS)
    assert settled.pictures.shape == (0, 28, 28)
    assert settled.logits.shape == (0, 10)
