"""The archive: the same inputs give the same bytes, everything the worker needs is inside, the graph is the net."""

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from digit import MEAN, STD
from lenet import LeNet
from serve import archive as mar
from train import onnx_graph, pack

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "train/weights/mnist-classifier.pt"
HANDLER = ROOT / "handler"


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    return pack.pack(WEIGHTS, HANDLER, tmp_path_factory.mktemp("store"))


def test_the_same_inputs_give_the_same_bytes(archive, tmp_path):
    again = pack.pack(WEIGHTS, HANDLER, tmp_path)
    assert again.read_bytes() == archive.read_bytes()


def test_times_and_modes_of_the_inputs_do_not_matter(archive, tmp_path):
    copies = tmp_path / "handler"
    copies.mkdir()
    for file in sorted(HANDLER.glob("*.*"), reverse=True):
        copy = copies / file.name
        copy.write_bytes(file.read_bytes())
        copy.chmod(0o600)
        os.utime(copy, (1, time.time() - 1e6))
    assert pack.pack(WEIGHTS, copies, tmp_path / "store").read_bytes() == archive.read_bytes()


def test_other_weights_give_other_bytes(archive, tmp_path):
    torch.save(LeNet().state_dict(), tmp_path / "mnist-classifier.pt")
    other = pack.pack(tmp_path / "mnist-classifier.pt", HANDLER, tmp_path)
    assert mar.checksum(other) != mar.checksum(archive)


def test_entries_are_sorted_and_timeless(archive):
    with zipfile.ZipFile(archive) as packed:
        entries = packed.infolist()
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    assert {entry.date_time for entry in entries} == {mar.EPOCH}


def test_every_file_of_handler_is_packed(archive):
    wanted = {file.name for file in HANDLER.iterdir() if file.suffix in (".py", ".json")}
    with zipfile.ZipFile(archive) as packed:
        assert set(packed.namelist()) == wanted | {"net.onnx", WEIGHTS.name, mar.MANIFEST}


def test_manifest_names_the_parts(archive):
    with zipfile.ZipFile(archive) as packed:
        manifest = json.loads(packed.read(mar.MANIFEST))
    assert manifest["model"] == {
        "modelName": "mnist",
        "modelVersion": "1.0",
        "modelFile": "lenet.py",
        "serializedFile": "mnist-classifier.pt",
        "handler": "mnist_handler.py",
    }


def test_the_checksum_beside_it_is_what_sha256sum_expects(archive):
    done = subprocess.run(["sha256sum", "--check", f"{archive.name}.sha256"], cwd=archive.parent, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_a_version_can_be_chosen_and_read_back(tmp_path):
    packed = pack.pack(WEIGHTS, HANDLER, tmp_path, "2.5")
    assert mar.verified_version(packed) == "2.5"


@pytest.mark.parametrize("damage", ["one bit", "half of it", "no checksum", "empty checksum"])
def test_a_broken_archive_is_refused(archive, tmp_path, damage):
    data = bytearray(archive.read_bytes())
    copy = tmp_path / archive.name
    recorded = mar.checksum_file(archive).read_text()
    if damage == "one bit":
        data[len(data) // 2] ^= 1
    elif damage == "half of it":
        del data[len(data) // 2 :]
    copy.write_bytes(data)
    if damage != "no checksum":
        mar.checksum_file(copy).write_text("" if damage == "empty checksum" else recorded)
    with pytest.raises(mar.BrokenArchive, match="make mar"):
        mar.verified_version(copy)


def test_the_worker_imports_every_module_from_the_archive(archive, tmp_path):
    """In a bare process: where it knows the checkout, a file forgotten at packing would be found there."""
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path)
    names = sorted(file.stem for file in tmp_path.glob("*.py"))
    program = "import json, sys; print(json.dumps([__import__(name).__file__ for name in sys.argv[1:]]))"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program, *names], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [str(tmp_path / f"{name}.py") for name in names]
    assert "mnist_handler" in names


def test_the_graph_gives_the_nets_probabilities():
    state = pack.load_weights(WEIGHTS)
    net = LeNet().eval()
    net.load_state_dict(state)
    pictures = np.random.default_rng(0).integers(0, 256, (300, 28, 28), np.uint8)
    pictures[100:] //= 255  # sparse ones, like blank paper
    pixels = torch.from_numpy(pictures).unsqueeze(1).float().div(255).sub(MEAN).div(STD)
    with torch.inference_mode():
        wanted = net(pixels).softmax(1).numpy()
    session = onnxruntime.InferenceSession(onnx_graph.build(state))
    for size in (1, 7, 300):
        [logits] = session.run(["logits"], {"pictures": pictures[:size]})
        assert logits.shape == (size, 10)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(torch.from_numpy(logits).softmax(1).numpy(), wanted[:size], atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 cut off"])
def test_damaged_weights_are_named(tmp_path, content):
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(pack.PackError, match=r"weights\.pt"):
        pack.pack(tmp_path / "weights.pt", HANDLER, tmp_path / "store")
    assert not list(tmp_path.glob("store/*"))


def test_weights_of_another_net_are_named(tmp_path):
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "weights.pt")
    with pytest.raises(pack.PackError, match="no weights of LeNet"):
        pack.pack(tmp_path / "weights.pt", HANDLER, tmp_path)


def test_missing_weights_are_one_line_and_a_failure(tmp_path):
    command = [sys.executable, "-m", "train", "pack", "--weights", tmp_path / "none.pt", "--output", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"cannot pack: no weights at {tmp_path}/none.pt; `make train` makes them\n"


def test_the_command_leaves_only_the_archive_and_its_checksum(tmp_path):
    environment = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "train", "pack", "--output", tmp_path / "store", "--version", "3"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "version 3, " in done.stdout
    assert sorted(file.name for file in (tmp_path / "store").iterdir()) == ["mnist.mar", "mnist.mar.sha256"]
    assert not list((tmp_path / "tmp").iterdir())
