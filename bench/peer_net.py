"""What every peer does with an upload: Pillow decodes, eager torch runs the same LeNet with the same weights.

The peers answer with the body that the service answers with. `Tuned` is the fastest worker known to us for the same
work: OpenCV, ONNX Runtime, a template in place of json.dumps.
"""

import io
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).parent.parent
WEIGHTS = ROOT / "train/weights/mnist-classifier.pt"
sys.path[:0] = [str(ROOT), str(ROOT / "handler")]

from digit import CLASS_NAMES, MEAN, SIDE, STD  # noqa: E402
from lenet import LeNet  # noqa: E402

torch.set_num_threads(1)


class Plain:
    """Pillow, eager torch, dictionaries."""

    def __init__(self) -> None:
        self._net = LeNet().eval()
        self._net.load_state_dict(torch.load(WEIGHTS, weights_only=True))

    def __call__(self, images: list[bytes]) -> list[dict]:
        """The body for each image."""
        pictures = np.stack([self._decoded(image) for image in images])
        pixels = torch.from_numpy(pictures).unsqueeze(1).float().div_(255).sub_(MEAN).div_(STD)
        with torch.inference_mode():
            probabilities = self._net(pixels).softmax(1).tolist()
        return [self._body(row) for row in probabilities]

    def _decoded(self, image: bytes) -> np.ndarray:
        grey = Image.open(io.BytesIO(image)).convert("L")
        return np.asarray(grey if grey.size == (SIDE, SIDE) else grey.resize((SIDE, SIDE)))

    def _body(self, row: list[float]) -> dict:
        classes = [
            {"class_name": name, "label": label, "probability": row[label]} for label, name in enumerate(CLASS_NAMES)
        ]
        best = max(classes, key=lambda each: each["probability"])
        return {"predictions": {"all": classes, "prediction": best}, "success": True}


class Tuned:
    """OpenCV, ONNX Runtime, a template."""

    def __init__(self) -> None:
        import onnxruntime

        from train import onnx_graph

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        graph = onnx_graph.build(torch.load(WEIGHTS, weights_only=True))
        self._session = onnxruntime.InferenceSession(graph, options)
        classes = (
            f'{{"class_name":"{name}","label":{label},"probability":%r}}' for label, name in enumerate(CLASS_NAMES)
        )
        best = '{"class_name":"%s","label":%d,"probability":%r}'
        self._body = f'{{"predictions":{{"all":[{",".join(classes)}],"prediction":{best}}},"success":true}}'

    def __call__(self, images: list[bytes]) -> list[bytes]:
        """The body for each image."""
        import cv2

        pictures = np.empty((len(images), SIDE, SIDE), np.uint8)
        for index, image in enumerate(images):
            grey = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_GRAYSCALE)
            pictures[index] = grey if grey.shape == (SIDE, SIDE) else cv2.resize(grey, (SIDE, SIDE))
        logits = self._session.run(("logits",), {"pictures": pictures})[0]
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        rows = (raised / raised.sum(axis=1, keepdims=True)).tolist()
        tops = logits.argmax(axis=1).tolist()
        return [
            (self._body % (*row, CLASS_NAMES[top], top, row[top])).encode() for row, top in zip(rows, tops, strict=True)
        ]
