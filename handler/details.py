"""What `?details=1` adds to a prediction: verdict, warnings, the picture the model saw, and which model that was.

A model without limits of verdicts (verdict.py) gives none.
"""

import base64
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from verdict import Judgement


def details(picture: np.ndarray, judgement: Judgement, model: Mapping[str, str]) -> dict[str, Any]:
    """The details of one prediction, ready for JSON.

    Args:
        picture: uint8 [SIDE, SIDE], what the model saw.
        model: name, version and sha256 of the weights.
    """
    png = base64.b64encode(cv2.imencode(".png", picture)[1].tobytes()).decode()
    verdict = {} if judgement.verdict is None else {"verdict": judgement.verdict}
    return verdict | {
        "warnings": list(judgement.warnings),
        "image_seen": f"data:image/png;base64,{png}",
        "model": dict(model),
    }
