"""Drift: what is counted of a batch, what is not, and that it is reported seldom, in TorchServe's own format."""

import logging
import re

import numpy as np
import pytest

import drift as module
import wire
from batch import Batch, Row
from decode import ImageTooLarge, UndecodableImage
from drift import Drift
from reader import Reading


def batch_of(*rows):
    """A batch of (from_proxy, [(flag, outcome)]); an outcome is a label with its warnings, or an error."""
    batch = Batch([Row([b""] * len(images), [flag for flag, _ in images], from_proxy) for from_proxy, images in rows])
    outcomes = [outcome for _, images in rows for _, outcome in images]
    labels = [outcome[0] for outcome in outcomes if isinstance(outcome, tuple)]
    batch.outcomes = [Reading(outcome[1:]) if isinstance(outcome, tuple) else outcome for outcome in outcomes]
    batch.logits = np.eye(10, dtype=np.float32)[labels]
    return batch


@pytest.fixture
def reported(monkeypatch, caplog):
    """Counts a batch as if the last report were long ago; returns {(metric, labels): count} of what was reported."""
    monkeypatch.setattr(module, "PERIOD", 0.0)
    caplog.set_level(logging.INFO)

    def tell(batch, *verdicts):
        caplog.clear()
        Drift("1.0").count(batch, verdicts)
        lines = (
            re.fullmatch(r"\[METRICS\](\w+)\.Count:(\d+)\|#(.*)\|#type:COUNTER\|#hostname:.*", m)
            for m in caplog.messages
        )
        return {(line[1], line[3]): int(line[2]) for line in lines}

    return tell


def test_predictions_are_counted_by_class_verdict_and_version(reported):
    batch = batch_of((True, [(0, (7,)), (1, (7,)), (0, (2,))]), (False, [(0, (7,))]))
    assert reported(batch, "digit", "uncertain", "digit", "digit") == {
        ("mnist_predictions_total", "class_name:seven,verdict:digit,model_version:1.0"): 2,
        ("mnist_predictions_total", "class_name:seven,verdict:uncertain,model_version:1.0"): 1,
        ("mnist_predictions_total", "class_name:two,verdict:digit,model_version:1.0"): 1,
        ("mnist_direct_batches_total", "model_version:1.0"): 1,
        ("mnist_direct_rows_total", "model_version:1.0"): 1,
    }


def test_warnings_and_refusals_are_counted(reported):
    batch = batch_of(
        (True, [(0, (3, "inverted", "cropped")), (0, UndecodableImage("no image"))]),
        (True, [(0, ImageTooLarge("too many pixels"))]),
    )
    assert reported(batch, "digit") == {
        ("mnist_predictions_total", "class_name:three,verdict:digit,model_version:1.0"): 1,
        ("mnist_warnings_total", "warning:inverted,model_version:1.0"): 1,
        ("mnist_warnings_total", "warning:cropped,model_version:1.0"): 1,
        ("mnist_refused_images_total", "code:undecodable_image,model_version:1.0"): 1,
        ("mnist_refused_images_total", "code:image_too_large,model_version:1.0"): 1,
    }


def test_probes_are_not_counted_and_shift_nobodys_verdict(reported):
    batch = batch_of((True, [(wire.PROBE | wire.DETAILS, (1,))]), (True, [(0, (4,))]))
    assert reported(batch, "not_a_digit", "digit") == {
        ("mnist_predictions_total", "class_name:four,verdict:digit,model_version:1.0"): 1
    }


def test_a_row_without_images_is_no_disaster(reported):
    batch = batch_of((False, []), (True, [(0, (5,))]))
    assert sum(reported(batch, "digit").values()) == 1


def test_counts_reach_torchserve_now_and_then_and_once(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(module, "PERIOD", 3600.0)
    drift = Drift("1.0")
    for _ in range(50):
        drift.count(batch_of((True, [(0, (7,))])), ["digit"])
    assert caplog.messages == []
    monkeypatch.setattr(module, "PERIOD", 0.0)
    drift.count(batch_of((True, [(0, (7,))])), ["digit"])
    assert len(caplog.messages) == 1
    assert ".Count:51|" in caplog.messages[0]
    drift.count(batch_of((False, [])), [])
    assert len(caplog.messages) == 1
