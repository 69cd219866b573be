"""A model in a folder of its own: `--model FOLDER` of fit, evaluate, served and pack (docs/own-model.md).

FOLDER holds model.json, dataset.py and the files that replace those of handler/; weights.pt, weights.json, figures/ and
mnist.mar come to lie there too. MNIST's folder is handler/, with its data, weights and archive elsewhere.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from train.mnist import Digits

ROOT = Path(__file__).parent.parent
MNIST = ROOT / "handler"


def add_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=_folder, default=MNIST, metavar="FOLDER",
                        help="folder of another model: docs/own-model.md (default: MNIST's)")  # fmt: skip


def _folder(text: str) -> Path:
    """MNIST's own folder is known by any name of it."""
    return MNIST if Path(text).resolve() == MNIST else Path(text)


def put_on_path(words: Sequence[str]) -> None:
    """Let Python find the modules and the model.json of the folder that a command line names, then those of handler/.

    Flat files are imported by bare name, exactly as TorchServe's worker imports them from the archive. Exits where the
    folder has no model.json.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_argument(parser)
    folder = parser.parse_known_args(words)[0].model
    if not (folder / "model.json").is_file():
        raise SystemExit(f"error: no model.json in {folder}")
    sys.path[:0] = [str(folder.resolve()), str(MNIST)]


def weights_of(folder: Path) -> Path:
    """Where the weights of the model in this folder lie, or shall lie."""
    return ROOT / "train/weights/mnist-classifier.pt" if folder == MNIST else folder / "weights.pt"


WEIGHTS = weights_of(MNIST)


def store_of(folder: Path) -> Path:
    """The folder that its archive is packed into."""
    return ROOT / "model_store" if folder == MNIST else folder


def splits(folder: Path, data: Path) -> tuple["Digits", "Digits", "Digits"]:
    """Training, validation and test pictures of the model in this folder; `data` is where MNIST lies.

    Raises DataError where they cannot be had or do not fit model.json.
    """
    from train import mnist  # needs what is not installed for serving

    if folder == MNIST:
        return mnist.load(data)
    import dataset

    try:
        train, validation, test = (mnist.Digits(pictures, labels) for pictures, labels in dataset.load())
    except OSError as error:
        raise mnist.DataError(f"{dataset.__file__}: {error}") from error
    for part in (train, validation, test):
        _check(part)
    return train, validation, test


def _check(part: "Digits") -> None:
    """Raise DataError unless the pictures and labels are of the size, the type and the classes of model.json."""
    import torch

    from digit import CLASS_NAMES, SIDE
    from train.mnist import DataError

    wanted = (len(part), SIDE, SIDE)
    if part.pictures.dtype != torch.uint8 or part.pictures.shape != wanted:
        shape = [*part.pictures.shape]
        raise DataError(f"dataset.py gave pictures {part.pictures.dtype} {shape}, not torch.uint8 {[*wanted]}")
    if part.labels.dtype != torch.int64 or not 0 <= int(part.labels.min()) <= int(part.labels.max()) < len(CLASS_NAMES):
        raise DataError(f"dataset.py gave labels that are not int64 from 0 to {len(CLASS_NAMES) - 1}")
