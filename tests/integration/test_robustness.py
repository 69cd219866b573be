"""The robustness table: its corruptions are what they say, its command runs, its documents agree."""

import hashlib
import json
from argparse import Namespace

import cv2
import numpy as np
import pytest

from train import tables
from train.own_model import ROOT, WEIGHTS
from train.research import lines, robustness, uploads
from train.research.corruptions import SEEN, UNSEEN, corrupt
from train.research.photo import HEIGHT, WIDTH, photograph

MEASURED = ROOT / "docs" / "robustness.json"
BAR = np.zeros((6, 28, 28), np.uint8)
BAR[:, 4:24, 12:16] = 255


def test_there_are_fifteen_corruptions():
    assert len({corruption.__name__ for corruption in SEEN + UNSEEN}) == 15


@pytest.mark.parametrize("corruption", SEEN + UNSEEN, ids=lambda corruption: corruption.__name__)
def test_a_corruption_changes_every_picture_and_is_repeatable(corruption):
    changed = corrupt(BAR, corruption, seed=1)
    assert changed.shape == BAR.shape
    assert changed.dtype == np.uint8
    assert (changed != BAR).any(axis=(1, 2)).all()
    assert np.array_equal(changed, corrupt(BAR, corruption, seed=1))


def test_a_photo_is_a_photo():
    from decode import decode

    sent = [photograph(BAR[0], np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert sent[0] == sent[1] != sent[2]
    assert decode(sent[0]).pixels.shape == (HEIGHT, WIDTH, 3)


DRAWINGS = (
    lines.in_cell, lines.in_frame, lines.on_ruled, lines.small_on_ruled, lines.on_squared, lines.small_on_squared,
)  # fmt: skip


@pytest.mark.parametrize("draw", DRAWINGS, ids=lambda draw: draw.__name__)
def test_drawings_among_lines_have_a_dark_digit_and_lines(draw):
    blank = np.zeros((28, 28), np.uint8)
    for seed in range(20):
        sheet, empty, again = (draw(picture, np.random.default_rng(seed)) for picture in (BAR[0], blank, BAR[0]))
        assert np.array_equal(sheet, again)
        assert sheet.dtype == np.uint8
        inked = empty.astype(int) - sheet > 20
        assert 0.005 < inked.mean() < 0.3
        assert np.median(empty) - np.quantile(empty, 0.01) > 15  # the lines
        assert np.median(empty) > lines.PAPER[0] - 10


@pytest.mark.parametrize("picture", range(6))
def test_transparent_corners_are_in_the_corners_only(picture):
    sheets = list(uploads.transparent_corners(BAR, np.random.default_rng(0)))
    alpha = cv2.imdecode(np.frombuffer(sheets[picture], np.uint8), cv2.IMREAD_UNCHANGED)[:, :, 3]
    side = len(alpha)
    assert alpha.min() < 128
    assert alpha[side // 4 : -side // 4, side // 4 : -side // 4].min() == 255
    assert (alpha == 255).mean() > 0.8


def test_the_command_measures_draws_and_writes(tmp_path, capsys):
    if not uploads.FASHION.exists():
        pytest.skip("needs dataset-fashion-mnist")
    (tmp_path / "pictures.md").write_text("<!-- robustness -->\n<!-- /robustness -->\n")
    assert robustness.run(Namespace(weights=WEIGHTS, quick=True, output=tmp_path)) == 0
    measured = json.loads((tmp_path / "robustness.json").read_text())
    by_name = {row["name"]: row for row in measured["rows"]}
    assert by_name["as it is"]["value"] > 0.95
    assert by_name["black on white"]["value"] > 0.95
    assert by_name["synthetic phone photo"]["value"] > 0.9
    assert by_name["motion photo"]["value"] > 0.9
    assert by_name["RGBA, transparent corners"]["value"] > 0.95
    assert {"cells", "frames", "ruled paper", "squared paper"} <= set(by_name)
    assert (tmp_path / "figures" / "robustness.png").stat().st_size > 50_000
    table = tables.read(tmp_path / "pictures.md", "robustness")
    assert "synthetic phone photo" in table
    assert "ruled paper: lines every 30 to 60 pixels, digit 1.5 to 3 lines tall" in table


def test_the_published_table_is_of_the_committed_weights_and_holds():
    measured = json.loads(MEASURED.read_text())
    assert measured["weights_sha256"] == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest(), "run `make robustness`"
    assert tables.read(ROOT / "docs" / "pictures.md", "robustness") == robustness.markdown(measured["rows"])
    for row in measured["rows"]:
        if row["must"] is not None:
            held = row["value"] <= row["must"] if row["group"] == robustness.WRONGLY else row["value"] >= row["must"]
            assert held, row
