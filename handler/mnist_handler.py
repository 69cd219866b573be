"""MnistHandler: TorchServe rows -> images -> pictures -> logits -> a JSON body for each image -> a reply for each row.

What is wrong with one picture becomes that picture's answer: an exception raised here would fail the whole batch.
"""

import gc
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

import forward
import verdict
import vote
import wire
from answer import bodies
from batch import PROXY_HEADER, Batch, reply, unpack
from decode import max_pixels_from_environment
from details import details
from digit import MODEL, SIDE
from drift import UNJUDGED, Drift
from quiet import quieten
from reader import read
from reading import Reading

SERVED = {"served": MODEL}  # added to the details of the proxy's probes: how it learns what it serves


class MnistHandler:
    """Reads images; answers with the probability of each class.

    It is no BaseHandler of TorchServe's, which would import torch (sitecustomize.py), and whose `initialize` and
    `handle` would be replaced all the same.
    """

    def initialize(self, context: Any) -> None:
        """Load the forward pass that fits the device TorchServe assigned, and run it once."""
        folder = Path(context.system_properties["model_dir"])
        model = context.manifest["model"]
        weights = folder / model["serializedFile"]
        self.forward = forward.on_assigned(context.system_properties.get("gpu_id"), folder / "net.onnx", weights)
        self.forward(np.zeros((1, SIDE, SIDE), np.uint8))
        self.limits = verdict.load()
        self.max_pixels = max_pixels_from_environment()
        self.model_details = {
            "name": model["modelName"],
            "version": model["modelVersion"],
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        }
        self.drift = Drift(model["modelVersion"])
        gc.collect()
        gc.freeze()  # torch and all else that stays: looking through it again and again took a tenth of the time
        gc.set_threshold(50_000, 20, 20)
        quieten()
        self.initialized = True

    def handle(self, rows: list[dict[str, Any]], context: Any) -> list[bytes]:
        """The replies to a batch of rows, in order; TorchServe's worker calls this."""
        self.context = context
        return self.postprocess(self.inference(self.preprocess(rows)))

    def preprocess(self, rows: list[dict[str, Any]]) -> Batch:
        """The batch with its images read: `pictures` are uint8 [m, 28, 28] of the m images that can be."""
        marks = [self.context.get_request_header(index, PROXY_HEADER) for index in range(len(rows))]
        batch = Batch([unpack(row, mark is not None) for row, mark in zip(rows, marks, strict=True)])
        images = [image for row in batch.rows for image in row.images]
        batch.pictures, batch.outcomes = read(images, self.max_pixels)
        return batch

    def inference(self, batch: Batch) -> Batch:
        """The batch with `logits`, float32 [m, 10], of its pictures, and one reading left of each image."""
        settled = vote.settle(batch.pictures, batch.outcomes, self.forward, self.limits)
        batch.pictures, batch.outcomes, batch.logits = settled
        return batch

    def postprocess(self, batch: Batch) -> list[bytes]:
        """A reply for each row: a batch's answers together, a client's own with its status."""
        judged = self._judged(batch)
        verdicts = (judged[i].verdict if i in judged else None for i in range(len(batch.logits)))
        self.drift.count(batch, [verdict or UNJUDGED for verdict in verdicts])
        wanted, probes = batch.flagged(wire.DETAILS), batch.flagged(wire.PROBE)
        more = [
            details(picture, judged[i], self.model_details) | (SERVED if i in probes else {}) if i in wanted else None
            for i, picture in enumerate(batch.pictures)
        ]
        good = iter(bodies(forward.softmax(batch.logits), more))
        answers = (next(good) if isinstance(outcome, Reading) else outcome for outcome in batch.outcomes)
        replies = []
        for index, row in enumerate(batch.rows):
            own = [next(answers) for _ in row.images]
            status, body = reply(row, own, self.context.get_request_id(index))
            self.context.set_response_status(status, "", index)
            self.context.set_response_content_type(index, "application/json")
            replies.append(body)
        return replies

    def _judged(self, batch: Batch) -> dict[int, verdict.Judgement]:
        """Judgements, by position among the pictures: of those whose details are wanted, now and then of all.

        A judgement takes longer than all else that is done to a small picture (docs/decisions/2026-11-23-workers.md).
        """
        every = range(len(batch.logits))
        positions = list(every) if self.drift.samples(batch) else sorted(batch.flagged(wire.DETAILS))
        if not positions:
            return {}
        readings = [outcome for outcome in batch.outcomes if isinstance(outcome, Reading)]
        chosen = [readings[i] for i in positions]
        judgements = verdict.judge(batch.logits[positions], batch.pictures[positions], chosen, self.limits)
        return dict(zip(positions, judgements, strict=True))
