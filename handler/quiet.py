"""Fewer lines on the worker's standard output, each of which TorchServe's JVM reads and parses.

For every batch its worker says that it received one, and how long the prediction took: a fifth of a lone request's time
in the worker and a third of its time in the JVM (docs/decisions/2026-11-23-workers.md).
"""

import logging
from time import monotonic

PERIOD = 1.0  # seconds between two values of the gauge PredictionTime
METRICS = "ts.metrics.caching_metric"  # the logger that metrics are written to


def quieten() -> None:
    """Let through warnings, errors, all metrics of ours, and TorchServe's own PredictionTime once a second."""
    logging.getLogger().setLevel(logging.WARNING)
    metrics = logging.getLogger(METRICS)
    metrics.setLevel(logging.INFO)
    metrics.filters[:] = [Seldom()]


class Seldom(logging.Filter):
    """Drops what comes within PERIOD of the last PredictionTime that passed."""

    passed = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.msg.startswith("[METRICS]PredictionTime"):
            return True
        now = monotonic()
        if now - self.passed < PERIOD:
            return False
        self.passed = now
        return True
