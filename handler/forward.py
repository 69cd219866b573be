"""LeNet's forward pass: pictures, uint8 [n, 28, 28] -> logits, float32 [n, 10].

ONNX Runtime on a CPU, where it takes a seventh of eager torch's time for one picture and a quarter for 64
(docs/decisions/2026-11-23-workers.md); torch on a GPU. Both start from the same weights, and tests check that they
agree within 1e-5.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

Forward = Callable[[np.ndarray], np.ndarray]


def on_assigned(gpu: int | None, graph: Path, weights: Path) -> Forward:
    """The forward pass on the GPU of this index, as TorchServe assigns it; on the CPU where it is None or of no use.

    TorchServe counts the machine's GPUs, whatever build of torch there is. Where the weights are the graph itself, they
    are of a net that torch does not know.
    """
    if gpu is None or weights == graph:
        return on_cpu(graph)
    import torch

    if torch.cuda.is_available():
        return on_gpu(weights, f"cuda:{gpu}")
    logging.getLogger(__name__).warning("torch %s cannot use GPU %d: the net runs on the CPU", torch.__version__, gpu)
    return on_cpu(graph)


def on_cpu(graph: Path) -> Forward:
    """The forward pass of an ONNX graph that takes `pictures` and gives `logits`; one thread, the caller's own."""
    # Its official build keeps a device id and a database in the home folder and sends what it counts to its maker.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph.read_bytes(), options, providers=["CPUExecutionProvider"])

    def forward(pictures: np.ndarray) -> np.ndarray:
        return session.run(("logits",), {"pictures": pictures})[0]

    return forward


def on_gpu(weights: Path, device: str) -> Forward:
    """The forward pass of LeNet with these weights on a torch device."""
    import torch

    from digit import MEAN, STD
    from lenet import LeNet

    torch.backends.cudnn.allow_tf32 = False  # which rounds to ten bits: answers would differ from the CPU's
    model = LeNet().eval()
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    model.to(device)

    @torch.inference_mode()
    def forward(pictures: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(pictures).to(device).unsqueeze(1).float().div_(255).sub_(MEAN).div_(STD)
        return model(pixels).float().cpu().numpy()

    return forward


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float32 [n, 10], that sum to 1."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
