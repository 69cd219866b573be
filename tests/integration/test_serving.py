"""From a file to an answer through everything that is real: proxy, TorchServe, workers, archive, net."""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
import requests
from PIL import Image

from digit import CLASS_NAMES
from proxy.settings import Settings
from tests.stack import Stack, wait_until
from train.own_model import ROOT

MODELS = {"mnist", "mnist_small", "mnist_large"}
SAMPLES = [(ROOT / f"samples/{label}.png").read_bytes() for label in range(10)]
ERRORS = {
    b"not a picture": (422, "undecodable_image"),
    b"": (400, "empty_image"),
    SAMPLES[3][:60]: (422, "undecodable_image"),
}


def url(service: Stack, path: str = "/api/mnist") -> str:
    return f"http://127.0.0.1:{service.port}{path}"


def ask(service: Stack, image: bytes) -> requests.Response:
    return requests.post(url(service), files={"image": ("digit", image)}, timeout=30)


def tokens(service: Stack) -> dict[str, dict[str, str]]:
    """Headers for `inference`, `management` and `API`, as the key file has them now."""
    keys = json.loads((service.run / str(service.port) / "key_file.json").read_text())
    return {name: {"Authorization": f"Bearer {key['key']}"} for name, key in keys.items()}


def predict(service: Stack, **request) -> requests.Response:
    """TorchServe's own endpoint."""
    address = f"http://127.0.0.1:{service.ports['TS_INFERENCE_PORT']}/predictions/mnist"
    request.setdefault("headers", {}).update(tokens(service)["inference"])
    return requests.post(address, timeout=30, **request)


def management(service: Stack, path: str, method: str = "GET", **request) -> requests.Response:
    request.setdefault("headers", tokens(service)["management"])
    return requests.request(
        method, f"http://127.0.0.1:{service.ports['TS_MANAGEMENT_PORT']}{path}", timeout=60, **request
    )


@pytest.mark.parametrize("label", range(10))
def test_a_sample_is_read_right_in_the_exact_body(service, label):
    answer = ask(service, SAMPLES[label])
    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert list(body) == ["predictions", "success"]
    assert body["success"] is True
    assert list(body["predictions"]) == ["all", "prediction"]
    classes = body["predictions"]["all"]
    assert [list(each) for each in classes] == [["class_name", "label", "probability"]] * 10
    assert [each["class_name"] for each in classes] == list(CLASS_NAMES)
    assert [each["label"] for each in classes] == list(range(10))
    assert sum(each["probability"] for each in classes) == pytest.approx(1, abs=1e-5)
    assert all(0 <= each["probability"] <= 1 for each in classes)
    assert body["predictions"]["prediction"] == classes[label] == max(classes, key=lambda each: each["probability"])


@pytest.mark.parametrize("label", range(10))
def test_torchserve_asked_directly_gives_the_same_body(service, label):
    through_the_proxy = ask(service, SAMPLES[label]).content
    for name in ("image", "data", "body"):
        assert predict(service, files={name: ("digit.png", SAMPLES[label])}).content == through_the_proxy
    raw = predict(service, data=SAMPLES[label], headers={"Content-Type": "image/png"})
    assert raw.content == through_the_proxy


@pytest.mark.parametrize(("image", "error"), ERRORS.items())
def test_a_bad_picture_gets_its_error_from_both(service, image, error):
    status, code = error
    answer = ask(service, image)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["success"] is False
    if image:  # TorchServe drops a part without a byte before the handler can see it
        direct = predict(service, data=image, headers={"Content-Type": "image/png"})
        assert (direct.status_code, direct.json()["error"]["code"]) == (status, code)


def test_many_at_once_with_bad_ones_among_them(service):
    """Each gets the very bytes that it gets alone, or its own error."""
    images = [*SAMPLES, *ERRORS]
    alone = {image: ask(service, image) for image in images}
    uploads = [images[(7 * turn) % len(images)] for turn in range(520)]
    with ThreadPoolExecutor(64) as clients:
        answers = list(clients.map(lambda image: ask(service, image), uploads))
    assert {image for image in uploads} == set(images)
    for image, answer in zip(uploads, answers, strict=True):
        assert answer.status_code == alone[image].status_code
        if image in ERRORS:
            assert answer.json()["error"]["code"] == ERRORS[image][1]
        else:
            assert answer.content == alone[image].content


def test_direct_clients_at_once_with_bad_ones_among_them(service):
    """The same without the proxy: a batch of TorchServe's own, a status for each row."""
    uploads = [*SAMPLES, b"not a picture"] * 20
    with ThreadPoolExecutor(32) as clients:
        answers = list(clients.map(lambda image: predict(service, files={"image": ("digit", image)}), uploads))
    for image, answer in zip(uploads, answers, strict=True):
        if image in ERRORS:
            assert (answer.status_code, answer.json()["error"]["code"]) == ERRORS[image]
        else:
            assert answer.json()["predictions"]["prediction"]["label"] == SAMPLES.index(image)


def test_batch(service):
    parts = [("image", ("digit", image)) for image in [*SAMPLES, b"not a picture"]]
    results = requests.post(url(service, "/api/mnist/batch"), files=parts, timeout=30).json()["results"]
    assert [result["predictions"]["prediction"]["label"] for result in results[:10]] == list(range(10))
    assert results[10]["error"]["code"] == "undecodable_image"


def test_health_and_cors(service):
    assert requests.get(url(service, "/livez"), timeout=5).status_code == 200
    assert requests.get(url(service, "/readyz"), timeout=5).status_code == 200
    headers = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    preflight = requests.options(url(service), headers=headers, timeout=5)
    assert preflight.ok
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    answer = requests.post(url(service), files={"image": SAMPLES[0]}, headers=headers, timeout=15)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "X-Request-Id" in answer.headers


def test_models_and_how_they_are_batched(service):
    assert {model["modelName"] for model in management(service, "/models").json()["models"]} == MODELS
    [mnist] = management(service, "/models/mnist").json()
    assert mnist["batchSize"] >= 8
    assert mnist["maxBatchDelay"] == 1
    [small], [large] = (management(service, f"/models/{name}").json() for name in ("mnist_small", "mnist_large"))
    assert small["batchSize"] == large["batchSize"] == 1  # what the proxy sends is a batch already
    assert (len(small["workers"]), len(large["workers"])) == (1, Settings().ts_workers)
    assert {worker["status"] for model in (mnist, small, large) for worker in model["workers"]} == {"READY"}


def test_workers_are_scaled(service):
    before = management(service, "/models/mnist").json()[0]["minWorkers"]
    try:
        answer = management(service, f"/models/mnist?min_worker={before + 1}&synchronous=true", "PUT")
        assert answer.status_code == 200, answer.text
        assert len(service.workers("mnist")) == before + 1
    finally:
        management(service, f"/models/mnist?min_worker={before}&max_worker={before}&synchronous=true", "PUT")
    wait_until(lambda: len(service.workers("mnist")) == before, 10, "the former number of workers")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer guessed"}])
def test_nothing_of_torchserve_without_its_token(service, headers):
    assert management(service, "/models", headers=headers).status_code >= 400
    address = f"http://127.0.0.1:{service.ports['TS_INFERENCE_PORT']}/predictions/mnist"
    assert requests.post(address, files={"image": SAMPLES[7]}, headers=headers, timeout=15).status_code >= 400


def test_no_model_is_registered_or_deleted_over_http(service):
    for archive in ("mnist.mar", "http://127.0.0.1:1/evil.mar", "file:///tmp/evil.mar"):
        assert management(service, f"/models?url={archive}&model_name=evil", "POST").status_code >= 400
    assert management(service, "/models/mnist", "DELETE").status_code >= 400
    assert {model["modelName"] for model in management(service, "/models").json()["models"]} == MODELS


def test_a_rotated_token_is_picked_up(service):
    before = tokens(service)
    management(service, "/token?type=inference", headers=before["API"]).raise_for_status()
    assert tokens(service)["inference"] != before["inference"]
    assert ask(service, SAMPLES[7]).json()["predictions"]["prediction"]["label"] == 7
    assert service.ready


def test_prometheus_metrics_of_torchserve(service):
    ask(service, SAMPLES[7])
    text = requests.get(f"http://127.0.0.1:{service.ports['TS_METRICS_PORT']}/metrics", timeout=15).text
    assert 'ts_inference_requests_total{model_name="mnist"' in text


def test_the_largest_upload_passes_every_limit_on_its_way(service):
    image = BytesIO()
    Image.open(BytesIO(SAMPLES[7])).resize((2890, 2890)).save(image, "BMP")
    assert 0.99 * 8 * 2**20 < len(image.getvalue()) < 8 * 2**20
    answer = ask(service, image.getvalue())
    assert answer.json()["predictions"]["prediction"]["label"] == 7
    assert predict(service, files={"image": image.getvalue()}).content == answer.content


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has SCHED_BATCH")
def test_torchserve_does_not_interrupt_the_proxy(service):
    scheduled = {service.supervisor: False, service.proxy: False, service.java: True}
    scheduled |= {process: True for process in service.java.children()}
    assert len(scheduled) > 4
    assert {process: os.sched_getscheduler(process.pid) == os.SCHED_BATCH for process in scheduled} == scheduled
