"""Every documented way to ask, tried on the real service: docs/clients.md, Postman, OpenAPI, the command line."""

import json
import os
import re
import shutil
import subprocess
import sys

import jsonschema
import pytest
import requests

from tests.stack import ROOT, running

BLOCKS = re.findall(
    r"^```(bash|python|javascript)\n(.*?)^```\n^```text\n(.*?)^```$",
    (ROOT / "docs/clients.md").read_text(),
    re.MULTILINE | re.DOTALL,
)
RUNNERS = {
    "bash": ["bash", "-euo", "pipefail", "-c"],
    "python": [sys.executable, "-c"],
    "javascript": ["node", "--input-type=module", "-e"],
}
MISSING = pytest.mark.skipif(not (shutil.which("node") and shutil.which("curl")), reason="needs Node and curl")
COLLECTION = json.loads((ROOT / "docs/mnist.postman_collection.json").read_text())
SEVEN = (ROOT / "samples/7.png").read_bytes()


@pytest.fixture(scope="module")
def url(service):
    return f"http://127.0.0.1:{service.port}"


@pytest.fixture(scope="module")
def document(url):
    return requests.get(f"{url}/openapi.json", timeout=10).json()


def test_all_blocks_are_found():
    fences = re.findall(r"^```(bash|python|javascript)$", (ROOT / "docs/clients.md").read_text(), re.MULTILINE)
    assert [language for language, _, _ in BLOCKS] == fences
    assert set(fences) == set(RUNNERS)


@MISSING
@pytest.mark.parametrize(("language", "code", "printed"), BLOCKS)
def test_a_documented_block_prints_what_it_says(service, url, language, code, printed):
    here = {
        "http://127.0.0.1:3001": url,
        "127.0.0.1:8080": f"127.0.0.1:{service.ports['TS_INFERENCE_PORT']}",
        "run/3001": str(service.run / str(service.port)),
        ".venv/bin/python": sys.executable,
    }
    for there, own in here.items():
        code = code.replace(there, own)
    environment = os.environ | {"MNIST_URL": url}
    ran = subprocess.run(
        [*RUNNERS[language], code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert ran.stdout == printed, ran.stderr


def as_documented(document, path, response, method="post"):
    """Assert that the response's status is documented and its body is what the document says of that status."""
    described = document["paths"][path][method]["responses"][str(response.status_code)]
    if "$ref" in described:
        described = document["components"]["responses"][described["$ref"].rpartition("/")[2]]
    schema = described["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator(document | schema).validate(response.json())
    return described


@pytest.mark.parametrize("query", ["", "?details=1"])
def test_predictions_are_as_documented(url, document, query):
    one = requests.post(f"{url}/api/mnist{query}", files={"image": SEVEN}, timeout=30)
    as_documented(document, "/api/mnist", one)
    assert ("details" in one.json()) == bool(query)
    many = requests.post(
        f"{url}/api/mnist/batch{query}", files=[("image", ("x", b)) for b in (SEVEN, b"x")], timeout=30
    )
    as_documented(document, "/api/mnist/batch", many)


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        ("missing_image", {"files": {"picture": SEVEN}}),
        ("several_images", {"files": [("image", ("a", SEVEN)), ("image", ("b", SEVEN))]}),
        ("empty_image", {"files": {"image": ("x", b"")}}),
        ("undecodable_image", {"files": {"image": b"none"}}),
        ("body_too_large", {"files": {"image": bytes(9 * 2**20)}}),
        ("unsupported_media_type", {"json": {}}),
        ("malformed_multipart", {"data": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=y"}}),
    ],
)
def test_errors_are_as_documented(url, document, code, asked):
    response = requests.post(f"{url}/api/mnist", timeout=30, **asked)
    described = as_documented(document, "/api/mnist", response)
    said, example = (
        response.json()["error"],
        described["content"]["application/json"]["examples"][code]["value"]["error"],
    )
    assert said["code"] == code
    if code == "missing_image":  # which names the parts that this form has
        assert said["message"] == "Send the image as a file part named `image`, as `curl -F image=@7.png` does." + (
            " This form has `picture`."
        )
    elif code != "undecodable_image":  # which may say in brackets what is wrong with the file
        assert said["message"] == example["message"]


def test_every_documented_path_is_there_and_takes_only_its_methods(url, document):
    for path, operations in document["paths"].items():
        allowed = requests.options(url + path, timeout=10).headers["Allow"].split(", ")
        assert set(allowed) - {"HEAD", "OPTIONS"} == {method.upper() for method in operations}
        if "get" in operations:
            assert requests.get(url + path, timeout=10).status_code == 200


@pytest.mark.parametrize("item", COLLECTION["item"], ids=lambda item: item["name"])
def test_postman_requests_are_answered_as_their_tests_expect(url, item):
    request, tests = item["request"], "\n".join(item["event"][0]["script"]["exec"])
    files, data = [], None
    if request["method"] == "POST":
        body = request["body"]
        files = [(part["key"], (part["src"], (ROOT / part["src"]).read_bytes())) for part in body.get("formdata", ())]
        data = None if files else (ROOT / body["file"]["src"]).read_bytes()
    headers = {header["key"]: header["value"] for header in request.get("header", ())}
    address = request["url"].replace("{{url}}", url)
    response = requests.request(request["method"], address, files=files, data=data, headers=headers, timeout=30)
    expected = re.search(r"status\((\d+)\)", tests)
    assert response.status_code == (int(expected[1]) if expected else 200)
    if label := re.search(r"label\)\.to\.equal\((\d)\)", tests):
        assert response.json()["predictions"]["prediction"]["label"] == int(label[1])


def test_the_postman_collection_has_a_request_for_each_endpoint(document):
    asked = {item["request"]["url"].removeprefix("{{url}}").partition("?")[0] for item in COLLECTION["item"]}
    assert asked >= set(document["paths"])


def client(url, *words, **settings):
    command = [sys.executable, "-m", "client", *words]
    environment = os.environ | {"MNIST_URL": url}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, **settings)


def test_the_command_line_reads_folders_and_standard_input(url):
    ran = client(url, "samples", "-", "--format", "json", "--batch", "4", input=SEVEN)
    answers = json.loads(ran.stdout)
    assert [answer["predictions"]["prediction"]["label"] for answer in answers] == [*range(10), 7]
    assert answers[-1]["image"] == "-"
    assert (ran.returncode, ran.stderr) == (0, b"")  # no progress bar where nobody looks


def test_the_command_line_fails_when_one_image_does(url):
    ran = client(url, "samples/1.png", "Makefile", "samples/[23].png")
    lines = ran.stdout.decode().splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["1", "-", "2", "3"]
    assert "undecodable_image" in lines[2]
    assert ran.returncode == 1
    assert ran.stderr.decode() == "1 of 4 images failed\n"


def oip(service, path, **asked):
    token = json.loads((service.run / str(service.port) / "key_file.json").read_text())["inference"]["key"]
    address = f"http://127.0.0.1:{service.ports['TS_INFERENCE_PORT']}{path}"
    headers = {"Authorization": f"Bearer {token}"} | asked.pop("headers", {})
    return requests.request("POST" if asked else "GET", address, headers=headers, timeout=30, **asked)


def test_the_open_inference_protocol_takes_images_but_no_tensors(service):
    infer = "/v2/models/mnist/infer"
    raw = oip(service, infer, data=SEVEN, headers={"Content-Type": "image/png"})
    form = oip(service, infer, files={"image": SEVEN})
    assert raw.json() == form.json()
    assert raw.json()["predictions"]["prediction"]["label"] == 7
    tensor = {"name": "image", "shape": [1, 28, 28], "datatype": "UINT8", "data": [0] * 784}
    refused = oip(service, infer, json={"inputs": [tensor]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "undecodable_image")
    assert oip(service, "/v2/models/mnist/ready").status_code == oip(service, "/v2/health/live").status_code == 404


def test_the_open_inference_protocols_health_can_be_switched_on(model_store, tmp_path):
    with running(tmp_path, MODEL_STORE=str(model_store), TS_OPEN_INFERENCE_PROTOCOL="oip") as service:
        assert oip(service, "/v2").json()["version"] == "0.12.0"
        assert oip(service, "/v2/health/live").json() == {"live": True}
        assert oip(service, "/v2/health/ready").json() == {"ready": True}
        assert oip(service, "/v2/models/mnist").status_code == 404
