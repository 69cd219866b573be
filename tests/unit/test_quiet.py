"""What a worker writes to its standard output once it is quiet."""

import logging

import pytest

import quiet


@pytest.fixture
def lines(monkeypatch):
    root, metrics = logging.getLogger(), logging.getLogger(quiet.METRICS)
    before = root.level, metrics.level
    written = []
    handler = logging.Handler()
    handler.emit = lambda record: written.append(record.getMessage())
    root.addHandler(handler)
    quiet.quieten()
    yield written
    root.removeHandler(handler)
    root.setLevel(before[0])
    metrics.setLevel(before[1])
    metrics.filters.clear()


def test_lines_about_batches_are_dropped_and_errors_kept(lines):
    logging.info("Backend received inference at: 1")
    logging.getLogger("ts.service").warning("Invoking custom service failed.")
    assert lines == ["Invoking custom service failed."]


def test_a_time_now_and_then_and_every_count(lines):
    for _ in range(3):
        logging.getLogger(quiet.METRICS).info("[METRICS]PredictionTime.ms:1.0|#ModelName:mnist")
        logging.getLogger(quiet.METRICS).info("[METRICS]mnist_predictions_total.count:1|#class_name:seven")
    assert [line.partition(".")[0] for line in lines] == [
        "[METRICS]PredictionTime", *["[METRICS]mnist_predictions_total"] * 3
    ]  # fmt: skip
