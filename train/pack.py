"""From weights and handler/ to the archive that TorchServe loads: the same inputs give the same bytes everywhere.

weights -> ONNX graph -> with the weights, the flat files of handler/ and those that another model puts in their place
        -> through torch-model-archiver -> entries sorted, times fixed -> mnist.mar, mnist.mar.sha256
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import forward
from canonical import BOX
from digit import CLASS_NAMES, MODEL, MODEL_FILE, SIDE
from lenet import LeNet
from serve import archive as mar
from train import onnx_graph, own_model
from train.own_model import ROOT

GRAPH = "net.onnx"  # what the worker runs; in a model's folder, a graph of another net than LeNet
LEFT_OUT = ("dataset.py", "weights.json")  # of a model's folder: for training alone


class PackError(Exception):
    """An input cannot be packed; the message says which one and why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", default="1.0", help="version of the model in the archive (default: %(default)s)")
    parser.add_argument("--weights", type=Path, metavar="FILE",
                        help="state dict of LeNet, or a graph, .onnx (default: the model's own)")  # fmt: skip
    parser.add_argument("--handler", type=Path, default=ROOT / "handler", metavar="FOLDER",
                        help="flat files to pack with it (default: handler)")  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="FOLDER",
                        help="where mnist.mar and mnist.mar.sha256 go (default: the model's own)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    graph = args.model / GRAPH
    weights = args.weights or (graph if graph.exists() else own_model.weights_of(args.model))
    try:
        archive = pack(weights, args.handler, args.output or own_model.store_of(args.model), args.version)
    except (PackError, OSError) as error:
        print(f"cannot pack: {error}", file=sys.stderr)
        return 1
    size = archive.stat().st_size / 1024
    print(f"{archive}: version {args.version}, {size:.0f} KiB, sha256 {mar.checksum(archive)}")
    return 0


def pack(weights: Path, handler: Path, output: Path, version: str = "1.0") -> Path:
    """Write `output`/mnist.mar and its sha256 beside it; return the archive's path.

    The model is the one whose model.json `digit` has read. The file is called mnist.mar whatever the model.

    Raises PackError for weights or a graph that do not fit the model and where the archiver fails, OSError for files
    and folders.
    """
    content = graph_of(weights)
    output.mkdir(parents=True, exist_ok=True)
    # A folder of its own: the archiver stages in $TMPDIR/<name> and deletes whatever lies there.
    with tempfile.TemporaryDirectory(prefix="mnist-pack-") as staging:
        graph = Path(staging, GRAPH)
        graph.write_bytes(content)
        serialized = graph if weights.suffix == ".onnx" else weights
        raw = _run_archiver(serialized, [graph, *packed_files(handler)], version, Path(staging))
        finished = output / f".mnist.mar.{os.getpid()}"
        mar.rewrite(raw, finished)
    archive = output / "mnist.mar"
    finished.replace(archive)
    mar.checksum_file(archive).write_text(f"{mar.checksum(archive)}  {archive.name}\n")
    return archive


def graph_of(weights: Path) -> bytes:
    """The ONNX graph that the worker runs: LeNet's with these weights, or the one in a file .onnx as it is.

    Raises PackError unless it gives logits, float32 [n, classes], of pictures, uint8 [n, SIDE, SIDE].
    """
    if weights.suffix != ".onnx":
        return onnx_graph.build(load_weights(weights))
    try:
        found = forward.on_cpu(weights)(np.zeros((2, SIDE, SIDE), np.uint8))
    except Exception as error:  # onnxruntime's have no common class
        raise PackError(
            f"{weights} takes no `pictures`, uint8 [n, {SIDE}, {SIDE}], or gives no `logits` ({error})"
        ) from error
    if (found.shape, found.dtype) != ((2, len(CLASS_NAMES)), np.float32):
        shape = [*found.shape]
        raise PackError(f"{weights} gives {found.dtype} {shape} for two pictures, not float32 [2, {len(CLASS_NAMES)}]")
    return weights.read_bytes()


def packed_files(handler: Path) -> list[Path]:
    """The files of handler/, each replaced by the model's file of that name; another model has its own .json files."""
    own = MODEL_FILE.parent if MODEL_FILE.parent != own_model.MNIST else handler
    found = {path.name: path for path in (*handler.glob("*.py"), *own.glob("*.py"), *own.glob("*.json"))}
    if SIDE < BOX and found["reader.py"].parent != own:
        raise PackError(f"pictures of {SIDE} pixels need a reader.py of their own: MNIST's makes digits of {BOX}")
    return [path for name, path in found.items() if name not in LEFT_OUT]


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """LeNet's state dict from `path`, checked against the model; PackError when it is none."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        LeNet().load_state_dict(state)
    except FileNotFoundError as error:
        raise PackError(f"no weights at {path}; `make train` makes them") from error
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        cause = f"{type(error).__name__}: {error}".splitlines()[0]
        raise PackError(f"{path} holds no weights of LeNet ({cause})") from error
    return state


def _run_archiver(serialized: Path, files: list[Path], version: str, staging: Path) -> Path:
    """The archive as torch-model-archiver writes it, in `staging`."""
    named = {path.name: path for path in files}
    net, handler = named.pop("lenet.py"), named.pop("mnist_handler.py")
    extra = [path for path in named.values() if path != serialized]
    command = [
        sys.executable, "-m", "model_archiver.model_packaging",
        "--model-name", MODEL["name"],
        "--version", version,
        "--model-file", net,
        "--serialized-file", serialized,
        "--handler", handler,
        "--extra-files", ",".join(map(str, extra)),
        "--export-path", staging,
    ]  # fmt: skip
    done = subprocess.run(command, env={**os.environ, "TMPDIR": str(staging)}, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise PackError(f"torch-model-archiver failed: {done.stderr.strip().splitlines()[-1]}")
    return staging / f"{MODEL['name']}.mar"
