"""A model in a folder of its own: what it takes from there, in fresh processes as training and workers are."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[2]
NAMES = ["plain", 'with "quotes" and \\', "100 % naïve"]
FACTS = {"name": "toys", "input": "toy", "class_names": NAMES, "side": 20, "mean": 0.5, "std": 0.25}
READER = """
import cv2
import numpy as np

from digit import SIDE
from reading import read_each


def read(images, max_pixels):
    return read_each(images, max_pixels, picture_of)


def picture_of(pixels):
    if pixels.shape[0] == 13:
        raise ZeroDivisionError
    return cv2.resize(pixels, (SIDE, SIDE)) if pixels.shape[0] != 14 else pixels
"""
DATASET = """
import torch


def load():
    pictures = torch.randint(0, 256, (300, {side}, {side}), dtype=torch.uint8)
    labels = torch.arange(300) % 3
    pictures[:, :5, :5] = (100 * labels[:, None, None]).to(torch.uint8)
    return ((pictures, labels),) * 3
"""
# In the archive's folder: details of a row that a client sends itself, and of the proxy's batch of all images.
HANDLE = """
import io, json, sys
import numpy as np
from PIL import Image
from types import SimpleNamespace
from ts.context import Context, RequestProcessor
import batch, wire
from mnist_handler import MnistHandler

manifest = json.load(open("MAR-INF/MANIFEST.json"))
context = Context(manifest["model"]["modelName"], ".", manifest, 1, None, "0.12.0", metrics=SimpleNamespace())
handler = MnistHandler()
handler.initialize(context)


def image(side):
    file = io.BytesIO()
    Image.new("L", (side, side), 90).save(file, "PNG")
    return file.getvalue()


def replies(row, headers):
    context.request_ids, context.request_processor = {0: "id"}, [RequestProcessor(headers)]
    return handler.handle([row], context)[0]


images = [image(40), b"junk", image(13), image(14), image(20)]
flags = [wire.DETAILS, 0, 0, 0, wire.DETAILS | wire.PROBE]
heads = b"".join(len(i).to_bytes(4, "big") + bytes([f]) for i, f in zip(images, flags))
many = replies({"body": len(images).to_bytes(4, "big") + heads + b"".join(images)}, {batch.PROXY_HEADER: "1"})
count, at, bodies = int.from_bytes(many[:4], "big"), 4, []
lengths = [int.from_bytes(many[6 + 6 * i : 10 + 6 * i], "big") for i in range(count)]
at = 4 + 6 * count
for length in lengths:
    bodies.append(json.loads(many[at : at + length]))
    at += length
print(json.dumps({"direct": json.loads(replies({"image": images[0]}, {})), "batch": bodies}))
"""


def toys(folder: Path) -> Path:
    """A model of three classes and pictures of 20 x 20, in a new folder."""
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps(FACTS))
    (folder / "reader.py").write_text(READER)
    (folder / "dataset.py").write_text(DATASET.format(side=20))
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    return toys(tmp_path / "toys")


def train(*words: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "train", *map(str, words)], cwd=ROOT, capture_output=True, text=True)


def handled(folder: Path, tmp_path: Path) -> dict:
    """What a worker that runs the packed archive answers."""
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(folder / "mnist.mar") as packed:
        packed.extractall(unpacked)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(unpacked)}
    done = subprocess.run([sys.executable, "-c", HANDLE], cwd=unpacked, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The model's folder with weights and archive in it."""
    folder = toys(tmp_path_factory.mktemp("models") / "toys")
    fitted = train("fit", "--quick", "--epochs", "3", "--model", folder)
    assert fitted.returncode == 0, fitted.stderr + fitted.stdout
    packed = train("pack", "--model", folder)
    assert packed.returncode == 0, packed.stderr
    return folder


def test_it_is_trained_packed_and_answers_with_its_own_classes(trained, tmp_path):
    answers = handled(trained, tmp_path)
    direct = answers["direct"]
    assert list(direct) == ["predictions", "success"]
    assert [one["class_name"] for one in direct["predictions"]["all"]] == NAMES
    assert [one["label"] for one in direct["predictions"]["all"]] == [0, 1, 2]
    assert sum(one["probability"] for one in direct["predictions"]["all"]) == pytest.approx(1, abs=1e-5)
    assert direct["predictions"]["prediction"] == max(direct["predictions"]["all"], key=lambda one: one["probability"])
    detailed = answers["batch"][0]["details"]
    assert list(detailed) == ["warnings", "image_seen", "model"]  # and no verdict, which only MNIST's model gives
    assert (detailed["model"]["name"], detailed["warnings"]) == ("toys", [])
    errors = [answer["code"] for answer in answers["batch"][1:4]]
    assert errors == ["undecodable_image", "internal_error", "internal_error"]  # a bug in reader.py costs one image
    assert answers["batch"][4]["details"]["served"] == FACTS  # the proxy's probe


def test_the_archive_holds_what_serving_needs_and_no_more(trained):
    with zipfile.ZipFile(trained / "mnist.mar") as packed:
        names = set(packed.namelist())
        assert packed.read("reader.py").decode() == READER
        assert json.loads(packed.read("MAR-INF/MANIFEST.json"))["model"]["modelName"] == "toys"
    handler = {path.name for path in (ROOT / "handler").glob("*.py")}
    assert names == handler | {"model.json", "net.onnx", "weights.pt", "MAR-INF/MANIFEST.json"}


def test_it_is_evaluated_into_its_own_folder(trained):
    before = (ROOT / "metrics.json").read_bytes()
    done = train("evaluate", "--model", trained)
    assert done.returncode == 0, done.stderr
    assert "| Accuracy |" in done.stdout
    metrics = json.loads((trained / "figures/metrics.json").read_text())
    assert [each["class_name"] for each in metrics["test"]["classes"]] == NAMES
    assert np.sum(metrics["test"]["confusion"]) == 300
    assert (trained / "figures/confusion-test.png").exists()
    assert (ROOT / "metrics.json").read_bytes() == before


def graph(classes: int, side: int = 20, output: str = "logits") -> bytes:
    """A net that is no LeNet: logits are a linear map of the pixels."""
    constants = {
        "weights": np.linspace(-1, 1, side * side * classes, dtype=np.float32).reshape(side * side, classes),
        "shape": np.array([-1, side * side], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["pictures"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["pixels", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], [output]),
    ]
    inputs = [helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["n", side, side])]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", classes])]
    initial = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "linear", inputs, outputs, initial)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def test_a_graph_of_another_net_is_served_as_it_is(folder, tmp_path):
    (folder / "net.onnx").write_bytes(graph(3))
    packed = train("pack", "--model", folder)
    assert packed.returncode == 0, packed.stderr
    answer = handled(folder, tmp_path)["direct"]
    assert answer["predictions"]["prediction"]["class_name"] == NAMES[2]  # its column of weights is the largest


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (graph(4), "float32 [2, 4] for two pictures, not float32 [2, 3]"),
        (graph(3, side=28), "takes no `pictures`, uint8 [n, 20, 20]"),
        (graph(3, output="scores"), "gives no `logits`"),
        (b"no graph", "takes no `pictures`"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused(folder, content, said):
    (folder / "net.onnx").write_bytes(content)
    done = train("pack", "--model", folder)
    assert (done.returncode, done.stderr.count("cannot pack: ")) == (1, 1)
    assert said in done.stderr
    assert not (folder / "mnist.mar").exists()


def test_smaller_pictures_than_mnists_digits_need_a_reader_of_their_own(folder):
    (folder / "model.json").write_text(json.dumps(FACTS | {"side": 16}))
    (folder / "net.onnx").write_bytes(graph(3, side=16))
    (folder / "reader.py").unlink()
    done = train("pack", "--model", folder)
    assert (done.returncode, done.stderr.count("cannot pack: ")) == (1, 1)
    assert "pictures of 16 pixels need a reader.py of their own" in done.stderr


def test_fewer_training_pictures_than_a_batch_are_refused(folder):
    (folder / "dataset.py").write_text(DATASET.format(side=20).replace("300", "200"))
    done = train("fit", "--quick", "--model", folder)
    assert done.returncode == 1
    assert "200 training pictures are less than a batch of" in done.stdout + done.stderr


def test_a_data_set_that_does_not_fit_is_refused(folder):
    (folder / "dataset.py").write_text(DATASET.format(side=28))
    done = train("fit", "--quick", "--model", folder)
    assert done.returncode == 1
    assert "torch.uint8 [300, 28, 28], not torch.uint8 [300, 20, 20]" in done.stdout + done.stderr


def test_labels_beyond_the_classes_are_refused(folder):
    (folder / "dataset.py").write_text(DATASET.format(side=20).replace("% 3", "% 4"))
    done = train("fit", "--quick", "--model", folder)
    assert done.returncode == 1
    assert "int64 from 0 to 2" in done.stdout + done.stderr


def test_the_folder_of_mnist_is_known_by_any_name(tmp_path):
    done = train("pack", "--model", "handler/../handler", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "mnist.mar") as packed:
        assert {"mnist-classifier.pt", "verdict.json"} <= set(packed.namelist())


def test_a_folder_without_model_json_is_named(tmp_path):
    done = train("pack", "--model", tmp_path)
    assert (done.returncode, done.stderr) == (1, f"error: no model.json in {tmp_path}\n")
