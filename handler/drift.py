"""Counts what the pictures are taken for: if the mix changes, the pictures have changed, or the model.

answers of a batch -> counts in memory -> about once a second TorchServe's counters, shown at its metrics address
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from time import monotonic

from ts.metrics.caching_metric import CachingMetric
from ts.metrics.metric_type_enum import MetricTypes

import wire
from batch import Batch
from decode import PictureError
from digit import CLASS_NAMES
from reading import Reading

PERIOD = 1.0  # seconds; each count reported is a line on the worker's standard output, which TorchServe parses
SAMPLE_PERIOD = 0.25  # seconds; judging a batch of 64 pictures takes 1.3 ms, so that sampling costs half a percent
UNJUDGED = "unjudged"  # a prediction nobody asked the details of, in a batch that was no sample
PREDICTIONS = "mnist_predictions_total", ("class_name", "verdict")
WARNINGS = "mnist_warnings_total", ("warning",)
REFUSALS = "mnist_refused_images_total", ("code",)
BATCHES: tuple[str, tuple[str, ...]] = "mnist_direct_batches_total", ()
ROWS: tuple[str, tuple[str, ...]] = "mnist_direct_rows_total", ()  # over the batches: how full TorchServe makes them


class Drift:
    """Counts predictions, warnings and refusals of one version of the model.

    The last counts are reported with the next batch: within a second where the proxy probes, else with the next upload.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._counts: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self._reported = monotonic()
        self._sampled = 0.0
        self._counters = {
            name: CachingMetric(name, "count", [*labels, "model_version"], MetricTypes.COUNTER)
            for name, labels in (PREDICTIONS, WARNINGS, REFUSALS, BATCHES, ROWS)
        }

    def count(self, batch: Batch, verdicts: Iterable[str]) -> None:
        """Count a batch that was answered with these verdicts, one for each row of its logits."""
        classes, verdicts = iter(batch.logits.argmax(axis=1).tolist()), iter(verdicts)
        outcomes = iter(batch.outcomes)
        for row in batch.rows:
            for flag in row.flags:
                outcome = next(outcomes)
                counted = _of(outcome, classes, verdicts)
                if not flag & wire.PROBE:
                    self._counts.update(counted)
        if direct := sum(
            len(row.flags) for row in batch.rows if not row.from_proxy
        ):  # of clients that do without the proxy
            self._counts[BATCHES] += 1
            self._counts[ROWS] += direct
        if monotonic() - self._reported >= PERIOD:
            self._report()

    def samples(self, batch: Batch) -> bool:
        """Whether all of the batch is to be judged, for the count of verdicts alone."""
        if monotonic() - self._sampled < SAMPLE_PERIOD or len(batch.flagged(wire.PROBE)) == len(batch.logits):
            return False
        self._sampled = monotonic()
        return True

    def _report(self) -> None:
        for (name, labels), count in self._counts.items():
            self._counters[name].add_or_update(count, [*labels, self._version])
        self._counts.clear()
        self._reported = monotonic()


def _of(
    outcome: Reading | PictureError, classes: Iterator[int], verdicts: Iterator[str]
) -> list[tuple[str, tuple[str, ...]]]:
    """What one picture adds to: (metric, labels)."""
    if isinstance(outcome, Reading):
        prediction = PREDICTIONS[0], (CLASS_NAMES[next(classes)], next(verdicts))
        return [prediction, *((WARNINGS[0], (warning,)) for warning in outcome.warnings)]
    return [(REFUSALS[0], (outcome.code,))]
