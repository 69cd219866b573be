"""From weights and handler/ to the archive that TorchServe loads: the same inputs give the same bytes everywhere.

weights -> ONNX graph -> with the weights and the flat files of handler/ through torch-model-archiver
        -> entries sorted, times fixed -> mnist.mar, mnist.mar.sha256
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from lenet import LeNet
from serve import archive as mar
from train import onnx_graph

ROOT = Path(__file__).parent.parent
WEIGHTS = ROOT / "train/weights/mnist-classifier.pt"
MODEL_NAME = "mnist"


class PackError(Exception):
    """An input cannot be packed; the message says which one and why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", default="1.0", help="version of the model in the archive (default: %(default)s)")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, metavar="FILE",
                        help="state dict to pack (default: train/weights/mnist-classifier.pt)")  # fmt: skip
    parser.add_argument("--handler", type=Path, default=ROOT / "handler", metavar="FOLDER",
                        help="flat files that travel with it (default: handler)")  # fmt: skip
    parser.add_argument("--output", type=Path, default=ROOT / "model_store", metavar="FOLDER",
                        help="where mnist.mar and mnist.mar.sha256 go (default: model_store)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    try:
        archive = pack(args.weights, args.handler, args.output, args.version)
    except (PackError, OSError) as error:
        print(f"cannot pack: {error}", file=sys.stderr)
        return 1
    size = archive.stat().st_size / 1024
    print(f"{archive}: version {args.version}, {size:.0f} KiB, sha256 {mar.checksum(archive)}")
    return 0


def pack(weights: Path, handler: Path, output: Path, version: str = "1.0") -> Path:
    """Write `output`/mnist.mar and its sha256 beside it; return the archive's path.

    Raises PackError for weights that are not LeNet's and where the archiver fails, OSError for files and folders.
    """
    state = load_weights(weights)
    output.mkdir(parents=True, exist_ok=True)
    # A folder of its own: the archiver stages in $TMPDIR/mnist and deletes whatever lies there.
    with tempfile.TemporaryDirectory(prefix="mnist-pack-") as staging:
        graph = Path(staging, "net.onnx")
        graph.write_bytes(onnx_graph.build(state))
        raw = _run_archiver(weights, graph, handler, version, Path(staging))
        finished = output / f".{MODEL_NAME}.mar.{os.getpid()}"
        mar.rewrite(raw, finished)
    archive = output / f"{MODEL_NAME}.mar"
    finished.replace(archive)
    mar.checksum_file(archive).write_text(f"{mar.checksum(archive)}  {archive.name}\n")
    return archive


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


def _run_archiver(weights: Path, graph: Path, handler: Path, version: str, staging: Path) -> Path:
    """The archive as torch-model-archiver writes it, in `staging`."""
    named = ("lenet.py", "mnist_handler.py")
    extra = [path for path in handler.iterdir() if path.suffix in (".py", ".json") and path.name not in named]
    command = [
        sys.executable, "-m", "model_archiver.model_packaging",
        "--model-name", MODEL_NAME,
        "--version", version,
        "--model-file", handler / "lenet.py",
        "--serialized-file", weights,
        "--handler", handler / "mnist_handler.py",
        "--extra-files", ",".join(str(path) for path in [graph, *extra]),
        "--export-path", staging,
    ]  # fmt: skip
    done = subprocess.run(command, env={**os.environ, "TMPDIR": str(staging)}, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise PackError(f"torch-model-archiver failed: {done.stderr.strip().splitlines()[-1]}")
    return staging / f"{MODEL_NAME}.mar"
