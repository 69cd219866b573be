"""LeNet as an ONNX graph, written node by node from its weights.

    pictures uint8 [n, 28, 28] -> normalized float32 [n, 1, 28, 28] -> LeNet -> logits float32 [n, 10]

Written here rather than exported by torch: the exporter needs onnxscript and a traced model, its output changes with
its version, and normalization would stay outside. The operators are those of https://onnx.ai/onnx/operators/.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from digit import MEAN, SIDE, STD

OPSET = 17  # Every operator used here has had its present form since then, so any recent runtime reads it.
IR_VERSION = 8  # The file format that came with that opset.


def build(weights: Mapping[str, Tensor]) -> bytes:
    """The serialized graph of LeNet with `weights`, its state dict. The same weights give the same bytes.

    Raises KeyError when a parameter is missing.
    """
    constants = {name: weights[name].detach().cpu().numpy() for name in _parameter_names()}
    # (pixel / 255 - MEAN) / STD in two operators
    constants["scale"] = np.float32(1 / (255 * STD))
    constants["shift"] = np.float32(-MEAN / STD)
    constants["channel_axis"] = np.array([1], dtype=np.int64)
    graph = helper.make_graph(
        _nodes(),
        "lenet",
        [helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["n", SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(constants["classifier.4.bias"])])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _parameter_names() -> list[str]:
    layers = ("features.0", "features.3", "classifier.0", "classifier.2", "classifier.4")
    return [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]


def _nodes() -> list[onnx.NodeProto]:
    """The operators in the order in which they run; each takes the output of the one before it."""
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    steps = [
        ("Cast", [], {"to": TensorProto.FLOAT}),
        ("Mul", ["scale"], {}),
        ("Add", ["shift"], {}),
        ("Unsqueeze", ["channel_axis"], {}),
        ("Conv", ["features.0.weight", "features.0.bias"], {}),
        ("MaxPool", [], pool),
        ("Relu", [], {}),
        ("Conv", ["features.3.weight", "features.3.bias"], {}),
        ("MaxPool", [], pool),
        ("Relu", [], {}),
        ("Flatten", [], {"axis": 1}),
        ("Gemm", ["classifier.0.weight", "classifier.0.bias"], {"transB": 1}),
        ("Relu", [], {}),
        ("Gemm", ["classifier.2.weight", "classifier.2.bias"], {"transB": 1}),
        ("Relu", [], {}),
        ("Gemm", ["classifier.4.weight", "classifier.4.bias"], {"transB": 1}),
    ]
    names = ["pictures", *(f"{kind.lower()}_{i}" for i, (kind, _, _) in enumerate(steps[:-1])), "logits"]
    return [
        helper.make_node(kind, [before, *constants], [after], name=after, **attributes)
        for (kind, constants, attributes), before, after in zip(steps, names, names[1:], strict=False)
    ]
