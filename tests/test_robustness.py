"""The robustness table: its corruptions are what they say, its command runs, its documents agree."""

import hashlib
import json
from argparse import Namespace

import numpy as np
import pytest

from train import robustness, tables, uploads
from train.corruptions import SEEN, UNSEEN, corrupt
from train.pack import ROOT, WEIGHTS
from train.photo import HEIGHT, WIDTH, photograph

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


def test_the_command_measures_draws_and_writes(tmp_path, capsys):
    if not uploads.FASHION.exists() or not (ROOT / "data" / "MNIST").exists():
        pytest.skip("needs MNIST and dataset-fashion-mnist")
    (tmp_path / "pictures.md").write_text("<!-- robustness -->\n<!-- /robustness -->\n")
    assert robustness.run(Namespace(weights=WEIGHTS, quick=True, output=tmp_path)) == 0
    measured = json.loads((tmp_path / "robustness.json").read_text())
    by_name = {row["name"]: row for row in measured["rows"]}
    assert by_name["as it is"]["value"] > 0.95
    assert by_name["black on white"]["value"] > 0.95
    assert by_name["synthetic phone photo"]["value"] > 0.9
    assert (tmp_path / "figures" / "robustness.png").stat().st_size > 50_000
    assert "synthetic phone photo" in tables.read(tmp_path / "pictures.md", "robustness")


def test_the_published_table_is_of_the_committed_weights_and_holds():
    measured = json.loads(MEASURED.read_text())
    assert measured["weights_sha256"] == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest(), "run `make robustness`"
    assert tables.read(ROOT / "docs" / "pictures.md", "robustness") == robustness.markdown(measured["rows"])
    for row in measured["rows"]:
        if row["must"] is not None:
            held = row["value"] <= row["must"] if row["group"] == robustness.WRONGLY else row["value"] >= row["must"]
            assert held, row
