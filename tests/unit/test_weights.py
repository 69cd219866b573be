"""A file of weights that would run code when it is unpickled: nobody runs it."""

import pickle
from pathlib import Path

import pytest
import torch

import forward
from train import evaluate


class Trap:
    """Unpickled, it creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.mark.parametrize("load", [lambda file: forward.on_gpu(file, "cpu"), evaluate.load], ids=["worker", "evaluate"])
def test_weights_that_would_run_code_are_refused(tmp_path, load):
    torch.save({"features.0.weight": Trap(tmp_path / "sprung")}, tmp_path / "weights.pt")
    with pytest.raises(pickle.UnpicklingError):
        load(tmp_path / "weights.pt")
    assert not (tmp_path / "sprung").exists()
    torch.load(tmp_path / "weights.pt", weights_only=False)  # the trap works
    assert (tmp_path / "sprung").exists()
