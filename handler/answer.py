"""Probabilities, float32 [n, classes] -> the JSON body of each prediction, filled into one template.

A template takes a tenth of json.dumps' time, and nine digits, which tell every float32 apart, a third of repr's
(docs/decisions/2026-11-23-workers.md).
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from digit import CLASS_NAMES

_NAMES = [json.dumps(name) for name in CLASS_NAMES]
_CLASS = '{"class_name": %s, "label": %d, "probability": %%#.9g}'
_ALL = ", ".join(_CLASS % (name.replace("%", "%%"), label) for label, name in enumerate(_NAMES))
_BODY = (
    '{"predictions": {"all": ['
    + _ALL
    + '], "prediction": {"class_name": %s, "label": %d, "probability": %#.9g}}, "success": true%s}'
)


def bodies(probabilities: np.ndarray, details: Sequence[dict[str, Any] | None]) -> list[bytes]:
    """The body of each prediction; where `details` has a dict, it is the body's third key."""
    best = probabilities.argmax(axis=1).tolist()
    return [
        (
            _BODY % (*row, _NAMES[top], top, row[top], "" if more is None else f', "details": {json.dumps(more)}')
        ).encode()
        for row, top, more in zip(probabilities.tolist(), best, details, strict=True)
    ]
