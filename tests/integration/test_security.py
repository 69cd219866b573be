"""What SECURITY.md promises, tried from outside on the running service."""

import io
import ipaddress
import json
import os
import shutil
import subprocess
import sys
import zipfile
from http.client import HTTPConnection

import psutil
import pytest
from PIL import Image, PngImagePlugin

from tests.raw_http import IMAGE, exchange, multipart, request
from tests.stack import ROOT, Stack, running

MARK = "mark-of-an-upload-5f1c"
KEY = "a-key-that-no-list-shall-show"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, model_store):
    """A service with an API key, all of whose files lie in one folder."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "tmp").mkdir()
    with running(folder, MODEL_STORE=str(model_store), API_KEYS=KEY, TMPDIR=str(folder / "tmp")) as stack:
        stack.folder = folder
        yield stack


def ask(stack, port, method, path, headers=None, body=None):
    connection = HTTPConnection("127.0.0.1", stack.ports[port], timeout=10)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def token(stack, scope):
    keys = json.loads((stack.run / str(stack.port) / "key_file.json").read_text())
    return {"Authorization": f"Bearer {keys[scope]['key']}"}


def test_processes_listen_on_loopback_and_known_ports_only(stack):
    listening = [each for process in stack.processes for each in process.net_connections() if each.status == "LISTEN"]
    addresses = {ipaddress.ip_address(each.laddr.ip.removeprefix("::ffff:")) for each in listening}
    assert all(address.is_loopback for address in addresses), addresses
    known = {each.laddr.port for each in listening} & set(stack.ports.values())
    assert known == set(stack.ports.values())
    assert len(listening) == len(known) + 2, (
        "TorchServe's two gRPC servers cannot be left out, and nothing else listens"
    )


def test_host_opens_the_proxy_alone(tmp_path, model_store):
    with running(tmp_path, MODEL_STORE=str(model_store), HOST="0.0.0.0") as stack:
        listening = [
            each for process in stack.processes for each in process.net_connections() if each.status == "LISTEN"
        ]
        wide = {each.laddr.port for each in listening if each.laddr.ip == "0.0.0.0"}
    assert wide == {stack.port}


@pytest.mark.parametrize(
    ("port", "method", "path"),
    [
        ("TS_MANAGEMENT_PORT", "GET", "/models"),
        ("TS_MANAGEMENT_PORT", "GET", "/models/mnist"),
        ("TS_MANAGEMENT_PORT", "DELETE", "/models/mnist"),
        ("TS_MANAGEMENT_PORT", "PUT", "/models/mnist?min_worker=0"),
        ("TS_MANAGEMENT_PORT", "POST", "/models?url=http://127.0.0.1:1/evil.mar"),
        ("TS_MANAGEMENT_PORT", "GET", "/token?type=inference"),
        ("TS_INFERENCE_PORT", "POST", "/predictions/mnist"),
        ("TS_INFERENCE_PORT", "GET", "/ping"),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "Bearer guess"}])
def test_torchserve_tells_and_does_nothing_without_its_token(stack, port, method, path, headers):
    status, _ = ask(stack, port, method, path, headers, b"x" if method == "POST" else None)
    assert 400 <= status < 500


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/evil.mar", "file:///etc/passwd", "../mnist.mar", "mnist.mar"])
def test_no_model_is_registered_over_http_even_with_the_token(stack, url):
    status, _ = ask(
        stack, "TS_MANAGEMENT_PORT", "POST", f"/models?url={url}&model_name=evil", token(stack, "management")
    )
    assert 400 <= status < 500
    models = json.loads(ask(stack, "TS_MANAGEMENT_PORT", "GET", "/models", token(stack, "management"))[1])
    assert {model["modelName"] for model in models["models"]} == {"mnist", "mnist_small", "mnist_large"}


def test_the_token_file_is_its_owners_alone(stack):
    assert (stack.run / str(stack.port) / "key_file.json").stat().st_mode & 0o077 == 0


def marked_picture() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", MARK)
    out = io.BytesIO()
    Image.new("L", (900, 900)).save(out, "PNG", pnginfo=text)
    return out.getvalue()


def test_uploaded_bytes_and_names_reach_neither_disk_nor_logs(guarded):
    uploads = [marked_picture(), MARK.encode() * 9, b"\x89PNG\r\n\x1a\n" + MARK.encode() * 9, MARK.encode() * 9000]
    for image in uploads:
        form = multipart((IMAGE.replace("7.png", MARK), image), (f'form-data; name="{MARK}"', MARK.encode()))
        for path in ("/api/mnist", "/api/mnist?details=1", "/api/mnist/batch"):
            headers = [f"X-API-Key: {KEY}".encode(), b"Authorization: Bearer " + KEY.encode()]
            answer = exchange(guarded.port, request(form, path=path, headers=headers))
            assert answer.status in (200, 422)
            assert MARK.encode() not in answer.body
        exchange(guarded.port, request(form[:-9], headers=headers))
    assert guarded.stop() == 0
    files = [path for path in guarded.folder.rglob("*") if path.is_file()]
    assert guarded.output in files
    told = guarded.output.read_bytes()
    assert told.count(b'"path": "/api/mnist"') >= 4, "the access log was written"
    assert not [path for path in files if MARK.encode() in path.read_bytes()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    guarded.start()


def test_no_process_list_shows_a_secret(guarded):
    secrets = [
        KEY,
        *(header["Authorization"].split()[1] for header in (token(guarded, "inference"), token(guarded, "management"))),
    ]
    lines = [" ".join(process.cmdline()) for process in guarded.processes]
    assert len(lines) >= 5
    assert not [line for line in lines for secret in secrets if secret in line]


def test_a_changed_archive_is_not_served(tmp_path, model_store):
    for name in ("mnist.mar", "mnist.mar.sha256"):
        shutil.copy(model_store / name, tmp_path)
    with (tmp_path / "mnist.mar").open("r+b") as archive:
        archive.seek(1000)
        archive.write(b"!")
    ended = subprocess.run(
        [sys.executable, "-m", "serve"],
        cwd=ROOT,
        env=os.environ
        | {"MODEL_STORE": str(tmp_path), **{name: str(port) for name, port in Stack(tmp_path).ports.items()}},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode != 0
    assert "sha256" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_the_net_tells_nobody_that_it_ran(tmp_path, model_store):
    """ONNX Runtime counts, keeps and sends what it does, unless it is told not to before it is imported."""
    with zipfile.ZipFile(model_store / "mnist.mar") as archive:
        archive.extractall(tmp_path / "archive")
    run = "import forward, numpy, pathlib; forward.on_cpu(pathlib.Path('net.onnx'))(numpy.zeros((1, 28, 28), 'uint8'))"
    (tmp_path / "home").mkdir()
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    environment = alone | {"HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, "-c", run], cwd=tmp_path / "archive", env=environment, check=True, timeout=60)
    assert not list((tmp_path / "home").rglob("*"))


def test_workers_run_with_what_the_archive_holds(stack):
    for worker in stack.workers() + stack.workers("mnist_large"):
        environment = worker.environ()
        assert "PYTHONPATH" not in environment or str(ROOT) not in environment["PYTHONPATH"].split(":")


def test_the_page_loads_nothing_from_elsewhere_and_is_not_framed(stack):
    status, headers, _ = stack.get("/")
    assert status == 200
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy or "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"]


def test_all_of_them_run_as_the_user_who_started_them(stack):
    assert {process.uids().real for process in stack.processes} == {os.getuid()}
    assert psutil.Process(stack.proxy.pid).status() != psutil.STATUS_ZOMBIE
