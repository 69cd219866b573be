"""Images to pictures: MNIST's own pass bit for bit, the rest is canonicalized, each error stays in its place."""

import gc
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from decode import EmptyImage, ImageTooLarge, UndecodableImage
from reader import Origin, Reading, read
from train.mnist import download

ROOT = Path(__file__).parents[2]
RAW = ROOT / "data" / "MNIST" / "raw"


@pytest.fixture
def digit() -> np.ndarray:
    return cv2.imread(str(ROOT / "samples" / "7.png"), cv2.IMREAD_GRAYSCALE)


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_every_mnist_picture_passes_bit_for_bit(part):
    download()
    file = RAW / f"{part}-images-idx3-ubyte"
    mnist = np.fromfile(file, np.uint8)[16:].reshape(-1, 28, 28)
    for start in range(0, len(mnist), 5000):
        some = mnist[start : start + 5000]
        pictures, outcomes = read([png(picture) for picture in some])
        assert np.array_equal(pictures, some)
        assert set(outcomes) == {Reading()}


def test_mnists_negatives_pass_bit_for_bit():
    download()
    mnist = np.fromfile(RAW / "t10k-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 28, 28)
    pictures, outcomes = read([png(255 - picture) for picture in mnist])
    assert np.array_equal(pictures, mnist)
    assert set(outcomes) == {Reading(("inverted",))}


def test_a_batch_of_all_kinds_keeps_its_order(digit):
    large = cv2.resize(digit, (84, 84), interpolation=cv2.INTER_CUBIC)
    moved = np.roll(digit, 3, axis=1)
    kinds = [png(255 - digit), png(255 - large), png(255 - moved), png(digit)]
    pictures, outcomes = read(kinds)
    alone = [read([image]) for image in kinds]
    assert np.array_equal(pictures, [picture for (picture,), _ in alone])
    assert outcomes == [outcome for _, (outcome,) in alone]
    assert [outcome.origin for outcome in outcomes] == [Origin.OWN, Origin.READ, Origin.READ, Origin.OWN]


def test_an_error_stays_in_its_place(digit):
    good = png(digit)
    pictures, outcomes = read([good, b"", b"no picture", good, png(np.zeros((60, 60), np.uint8))], max_pixels=3000)
    assert np.array_equal(pictures, [digit, digit])
    assert [type(outcome) for outcome in outcomes] == [Reading, EmptyImage, UndecodableImage, Reading, ImageTooLarge]


def test_nothing_to_read():
    pictures, outcomes = read([])
    assert pictures.shape == (0, 28, 28)
    assert outcomes == []


def test_a_refused_image_is_gone_without_the_garbage_collector(digit):
    """Which hardly ever runs in a worker: errors whose frames held them kept the pixels of thousands of bad uploads."""
    file = BytesIO()
    Image.fromarray(digit).save(file, "GIF")
    broken = [file.getvalue()[:-300], png(digit)[:-30], b""]
    read(broken)  # Pillow loads its plugins
    gc.collect()
    gc.disable()
    try:
        read(broken)
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize(("side", "width"), [(64, 1), (128, 1), (128, 2), (280, 2), (500, 5), (1000, 8)])
@pytest.mark.parametrize("colour", [(0, 0, 0), (0, 0, 255), (255, 0, 0)])
def test_a_thin_upright_stroke_is_seen_wherever_it_stands(side, width, colour):
    """Levels are told from a sample of rows and columns, between which such a stroke may lie."""
    images = []
    for left in range(side // 2, side // 2 + 16):
        image = np.full((side, side, 3), 255, np.uint8)
        image[side // 4 : 3 * side // 4, left : left + width] = colour[::-1]
        images += [png(image), png(image.transpose(1, 0, 2))]
    pictures, outcomes = read(images)
    assert not [outcome for outcome in outcomes if "blank" in outcome.warnings]
    assert pictures.max(axis=(1, 2)).min() > 128


@pytest.mark.parametrize("shape", [(h, w) for h in (1, 2, 3, 4, 5, 19) for w in (1, 2, 3, 4, 5, 19)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_smallest_images_are_read(shape, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, channels), np.uint8)
    pictures, [outcome] = read([png(pixels)])
    assert isinstance(outcome, Reading)
    assert pictures.shape == (1, 28, 28)
