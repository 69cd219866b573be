"""Fashion-MNIST, from the files of Debian's package dataset-fashion-mnist.

H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms, 2017.
"""

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FOLDER = Path("/usr/share/datasets/fashion-mnist")
VALIDATION = 5_000  # of the training pictures, the last ones

Part = tuple[Tensor, Tensor]  # pictures, uint8 [n, 28, 28], and labels, int64 [n]


def load() -> tuple[Part, Part, Part]:
    """Training (55,000), validation (5,000) and test (10,000) pictures. Raises OSError where they are not installed."""
    pictures, labels = read("train")
    train, validation = slice(None, -VALIDATION), slice(-VALIDATION, None)
    return (pictures[train], labels[train]), (pictures[validation], labels[validation]), read("t10k")


def read(name: str) -> Part:
    """One of the two parts that the files hold; their heads have 16 and 8 bytes (IDX format)."""
    pictures = np.frombuffer(gzip.decompress((FOLDER / f"{name}-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8)
    labels = np.frombuffer(gzip.decompress((FOLDER / f"{name}-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8)
    return torch.from_numpy(pictures.reshape(-1, 28, 28).copy()), torch.from_numpy(labels.astype(np.int64))
