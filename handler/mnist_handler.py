"""MnistHandler: TorchServe rows -> images -> pictures -> logits -> a JSON body for each image -> a reply for each row.

What is wrong with one picture becomes that picture's answer: an exception raised here would fail the whole batch.
"""

import hashlib
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from ts.torch_handler.base_handler import BaseHandler

import forward
from answer import bodies
from batch import TRIP_HEADER, Batch, reply, unpack
from decode import max_pixels_from_environment
from digit import SIDE
from drift import Drift
from reader import Reading, read

SHARED_PIXELS = 300_000  # a picture of more travels alone: its decoding would keep its companions waiting


class MnistHandler(BaseHandler):
    """Reads pictures of digits; answers with the probability of each class."""

    def initialize(self, context: Any) -> None:
        """Load the forward pass that fits the device TorchServe assigned, and run it once."""
        folder = Path(context.system_properties["model_dir"])
        gpu = context.system_properties.get("gpu_id")
        model = context.manifest["model"]
        weights = folder / model["serializedFile"]
        self.forward = forward.on_cpu(folder / "lenet.onnx") if gpu is None else forward.on_gpu(weights, f"cuda:{gpu}")
        self.forward(np.zeros((1, SIDE, SIDE), np.uint8))
        self.max_pixels = max_pixels_from_environment()
        self.model_details = {
            "name": model["modelName"],
            "version": model["modelVersion"],
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        }
        self.drift = Drift(model["modelVersion"])
        self.initialized = True

    def handle(self, rows: list[dict[str, Any]], context: Any) -> list[bytes]:
        """The replies to a batch of rows, in order.

        BaseHandler's own looks at the first row's headers and may answer all rows with an explanation.
        """
        self.context = context
        return self.postprocess(self.inference(self.preprocess(rows)))

    def preprocess(self, rows: list[dict[str, Any]]) -> Batch:
        """The batch with its images read: `pictures` are uint8 [m, 28, 28] of the m that can be."""
        marks = [self.context.get_request_header(index, TRIP_HEADER) for index in range(len(rows))]
        batch = Batch([unpack(row, mark) for row, mark in zip(rows, marks, strict=True)])
        limits = [self._most_pixels(row.mark) for row in batch.rows for _ in row.images]
        batch.pictures, batch.outcomes = read([image for row in batch.rows for image in row.images], limits)
        return batch

    def _most_pixels(self, mark: str | None) -> int:
        return min(SHARED_PIXELS, self.max_pixels) if mark == "shared" else self.max_pixels

    def inference(self, batch: Batch) -> Batch:
        """The batch with `logits`, float32 [m, 10], of its pictures."""
        if len(batch.pictures):
            batch.logits = self.forward(batch.pictures)
        return batch

    def postprocess(self, batch: Batch) -> list[bytes]:
        """A reply for each row: a trip's answers together, a client's own with its status."""
        good = iter(bodies(forward.softmax(batch.logits), [None] * len(batch.logits)))
        self.drift.count(batch, repeat("unknown"))
        answers = (next(good) if isinstance(outcome, Reading) else outcome for outcome in batch.outcomes)
        replies = []
        for index, row in enumerate(batch.rows):
            own = [next(answers) for _ in row.images]
            status, body = reply(row, own, self.context.get_request_id(index))
            self.context.set_response_status(status, "", index)
            self.context.set_response_content_type(index, "application/json")
            replies.append(body)
        return replies
