"""The handler on batches as TorchServe's worker hands them over, with the real net: every row gets its own reply."""

import base64
import hashlib
import json
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from ts.context import Context, RequestProcessor

import forward
import wire
from batch import PROXY_HEADER
from digit import CLASS_NAMES, MEAN, STD
from lenet import LeNet
from mnist_handler import MnistHandler
from train import onnx_graph

ROOT = Path(__file__).parents[2]

SAMPLES = [(ROOT / f"samples/{digit}.png").read_bytes() for digit in range(10)]
WEIGHTS = ROOT / "train/weights/mnist-classifier.pt"
MANIFEST = {"model": {"modelName": "mnist", "modelVersion": "1.0", "serializedFile": WEIGHTS.name}}

NOISE = np.random.default_rng(0).integers(0, 256, (200, 28, 28), dtype=np.uint8)
DIGITS = np.stack([np.asarray(Image.open(BytesIO(sample)).convert("L")) for sample in SAMPLES])
PICTURES = np.concatenate([DIGITS, NOISE, np.zeros((1, 28, 28), np.uint8)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the archive holds of the net."""
    folder = tmp_path_factory.mktemp("model")
    (folder / WEIGHTS.name).write_bytes(WEIGHTS.read_bytes())
    (folder / "net.onnx").write_bytes(onnx_graph.build(torch.load(WEIGHTS, weights_only=True)))
    for path in (ROOT / "train/weights").glob("*.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def handler(folder):
    handler = MnistHandler()
    handler.initialize(Context("mnist", str(folder), MANIFEST, 16, None, "0.12.0"))
    return handler


def handle(handler, *rows):
    """(status, body) of each row; a row is (dict, headers)."""
    context = Context("mnist", "", MANIFEST, 16, None, "0.12.0", metrics=SimpleNamespace())
    context.request_ids = {index: f"id-{index}" for index in range(len(rows))}
    context.request_processor = [RequestProcessor(dict(headers)) for _, headers in rows]
    replies = handler.handle([row for row, _ in rows], context)
    return [(context.get_response_status(index)[0], reply) for index, reply in enumerate(replies)]


def direct(image, field="image"):
    return {field: bytearray(image)}, {}


def batch(*images, flags=None):
    heads = b"".join(
        len(i).to_bytes(4, "big") + bytes([f]) for i, f in zip(images, flags or [0] * len(images), strict=True)
    )
    return {"body": bytearray(len(images).to_bytes(4, "big") + heads + b"".join(images))}, {PROXY_HEADER: "1"}


def opened(reply, count):
    from proxy.torchserve import decode

    return [(status, json.loads(body) if body else None) for status, body in decode(reply, count)]


def pixels_of(png):
    return np.asarray(Image.open(BytesIO(png)))


def label(body):
    return body["predictions"]["prediction"]["label"]


@pytest.mark.parametrize("field", ["image", "data", "body"])
def test_every_sample_is_read_right_whatever_the_row_calls_it(handler, field):
    replies = handle(handler, *(direct(sample, field) for sample in SAMPLES))
    assert [(status, label(json.loads(body))) for status, body in replies] == [(200, d) for d in range(10)]


def test_the_body_is_exactly_the_contracts(handler):
    [(_, reply)] = handle(handler, direct(SAMPLES[7]))
    body = json.loads(reply)
    assert list(body) == ["predictions", "success"]
    assert list(body["predictions"]) == ["all", "prediction"]
    every = body["predictions"]["all"]
    assert [list(one) for one in every] == [["class_name", "label", "probability"]] * 10
    assert [(one["class_name"], one["label"]) for one in every] == [(n, i) for i, n in enumerate(CLASS_NAMES)]
    assert body["predictions"]["prediction"] == max(every, key=lambda one: one["probability"])
    assert all(0 <= one["probability"] <= 1 for one in every)
    assert abs(sum(one["probability"] for one in every) - 1) < 1e-5
    assert body["success"] is True


def test_every_kind_of_row_gets_its_own_reply(handler):
    rows = [
        direct(SAMPLES[3]),
        batch(SAMPLES[1], b"junk", SAMPLES[2]),
        direct(b"junk"),
        direct(b""),
        ({"note": b"x"}, {}),
    ]
    (s0, b0), (s1, b1), (s2, b2), (s3, b3), (s4, b4) = handle(handler, *rows)
    assert (s0, label(json.loads(b0))) == (200, 3)
    assert s1 == 200
    (t0, one), (t1, error), (t2, two) = opened(b1, 3)
    assert (t0, label(one), t1, error["code"], t2, label(two)) == (200, 1, 422, "undecodable_image", 200, 2)
    assert (s2, json.loads(b2)["error"]["code"]) == (422, "undecodable_image")
    assert json.loads(b2)["error"]["request_id"] == "id-2"
    assert (s3, json.loads(b3)["error"]["code"]) == (400, "empty_image")
    assert (s4, json.loads(b4)["error"]["code"]) == (400, "missing_image")


def test_details_come_for_those_pictures_that_asked(handler):
    [(_, reply)] = handle(handler, batch(SAMPLES[4], b"junk", SAMPLES[5], flags=[0, wire.DETAILS, wire.DETAILS]))
    (_, plain), (status, _), (_, detailed) = opened(reply, 3)
    assert (list(plain), status) == (["predictions", "success"], 422)
    assert list(detailed) == ["predictions", "success", "details"]
    details = detailed["details"]
    assert list(details) == ["verdict", "warnings", "image_seen", "model"]
    assert (details["verdict"], details["warnings"]) == ("digit", [])
    assert details["model"] == {
        "name": "mnist",
        "version": "1.0",
        "sha256": hashlib.sha256(WEIGHTS.read_bytes()).hexdigest(),
    }
    png = base64.b64decode(details["image_seen"].removeprefix("data:image/png;base64,"))
    assert (pixels_of(png) == pixels_of(SAMPLES[5])).all()


def test_blank_paper_has_probabilities_and_is_no_digit(handler):
    file = BytesIO()
    Image.new("L", (60, 60), 255).save(file, "PNG")
    [(_, reply)] = handle(handler, batch(file.getvalue(), flags=[wire.DETAILS]))
    [(status, body)] = opened(reply, 1)
    assert (status, len(body["predictions"]["all"])) == (200, 10)
    assert body["details"]["verdict"] == "not_a_digit"
    assert "blank" in body["details"]["warnings"]


def test_a_batch_without_any_readable_picture(handler):
    assert [status for status, _ in handle(handler, direct(b"junk"), direct(b""))] == [422, 400]


def test_an_image_of_many_pixels_is_read_in_a_batch(handler):
    file = BytesIO()
    Image.open(BytesIO(SAMPLES[7])).resize((2000, 2000)).save(file, "PNG")
    [(_, together)] = handle(handler, batch(SAMPLES[1], file.getvalue()))
    assert [(status, label(body)) for status, body in opened(together, 2)] == [(200, 1), (200, 7)]


@pytest.mark.parametrize("row", [({"body": {"a": "json body"}}, {}), ({"body": bytearray(b"xx")}, {PROXY_HEADER: "1"})])
def test_rows_of_no_known_form_get_an_error(handler, row):
    (bad, _), (good, _) = handle(handler, row, direct(SAMPLES[1]))
    assert (bad, good) == (422, 200)


def test_onnx_runtime_and_torch_agree(folder):
    """On pictures of every kind: digits, noise, blank."""
    model = LeNet().eval()
    model.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    with torch.inference_mode():
        logits = model(torch.from_numpy(PICTURES).unsqueeze(1).float().div(255).sub(MEAN).div(STD))
    expected = torch.softmax(logits, 1).numpy()
    found = forward.softmax(forward.on_cpu(folder / "net.onnx")(PICTURES))
    assert np.abs(found - expected).max() < 1e-5
    assert np.abs(forward.softmax(forward.on_gpu(folder / WEIGHTS.name, "cpu")(PICTURES)) - expected).max() < 1e-5


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use the GPU that is assigned")
def test_a_gpu_without_torch_support_leaves_the_cpu_to_work(folder, handler, caplog):
    assigned = MnistHandler()
    assigned.initialize(Context("mnist", str(folder), MANIFEST, 16, 0, "0.12.0"))
    assert [record.getMessage() for record in caplog.records] == [
        f"torch {torch.__version__} cannot use GPU 0: the net runs on the CPU"
    ]
    rows = [direct(sample) for sample in SAMPLES]
    assert handle(assigned, *rows) == handle(handler, *rows)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
def test_a_gpu_gives_the_cpus_answers(folder, handler):
    assigned = MnistHandler()
    assigned.initialize(Context("mnist", str(folder), MANIFEST, 16, 0, "0.12.0"))
    found, expected = (forward.softmax(each.forward(PICTURES)) for each in (assigned, handler))
    assert np.abs(found - expected).max() < 1e-4
