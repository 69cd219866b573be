"""The command-line client, without the service: what it finds, how it asks again, what it prints and how it exits."""

import csv
import io
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from client.__main__ import main
from client.files import find

ROOT = Path(__file__).parents[2]
SEVEN = {"class_name": "seven", "label": 7, "probability": 0.75}
GOOD = {"predictions": {"all": [], "prediction": SEVEN}, "success": True}
DETAILS = {"verdict": "uncertain", "warnings": ["inverted", "cropped"]}
BAD = {"success": False, "error": {"code": "undecodable_image", "message": "Send a picture.", "request_id": "1"}}


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.JPG", "deep/c.tiff", "deep/[1].gif", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


@pytest.fixture
def service():
    """A service that says what the test puts into `answers`: (status, headers, body) for each request."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.asked.append((self.path, self.headers, body.count(b'name="image"')))
            status, headers, answer = server.answers.pop(0)
            data = json.dumps(answer).encode() if not isinstance(answer, bytes) else answer
            self.send_response(status)
            for name, value in {**headers, "Content-Length": len(data)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answers, server.asked = [], []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def results(*found):
    return 200, {}, {"results": list(found), "success": True}


def test_files_folders_and_globs_are_found_once_and_in_order(folder):
    names = [image.name for image in find([str(folder / "b.png"), str(folder), str(folder / "*.txt"), "/missing.png"])]
    relative = [name.removeprefix(f"{folder}/") for name in names]
    assert relative == ["b.png", "a.JPG", "deep/[1].gif", "deep/c.tiff", "notes.txt", "/missing.png"]


def test_a_file_named_like_a_glob_is_a_file(folder):
    assert [image.path.name for image in find([str(folder / "deep/[1].gif")])] == ["[1].gif"]


def test_a_glob_goes_into_folders(folder):
    assert [image.path.name for image in find([str(folder / "**/*.gif")])] == ["[1].gif"]


def test_a_table_and_success(folder, service, capsys):
    service.answers = [results(GOOD, GOOD)]
    assert main([str(folder / "b.png"), str(folder / "a.JPG"), "--url", service.url]) == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["image", "digit", "probability"]
    assert first.split()[1:] == second.split()[1:] == ["7", "0.750000"]
    assert first.split()[0].endswith("b.png")


def test_csv_with_details_and_one_failure(folder, service, capsys):
    service.answers = [results(GOOD | {"details": DETAILS}, BAD)]
    words = [str(folder / "b.png"), str(folder / "a.JPG"), "--url", service.url, "--format", "csv", "--details"]
    assert main(words) == 1
    printed = capsys.readouterr()
    good, bad = csv.DictReader(io.StringIO(printed.out))
    assert (good["label"], good["probability"], good["verdict"]) == ("7", "0.75", "uncertain")
    assert good["warnings"] == "inverted cropped"
    assert (bad["label"], bad["error"], bad["message"]) == ("", "undecodable_image", "Send a picture.")
    assert "1 of 2 images failed" in printed.err
    assert service.asked[0][0] == "/api/mnist/batch?details=1"


def test_json_is_a_list_with_unreadable_files_in_place(folder, service, capsys):
    service.answers = [results(GOOD), results(GOOD)]
    words = [str(folder / "b.png"), str(folder / "missing.png"), str(folder / "a.JPG"), "--format", "json"]
    assert main([*words, "--url", service.url]) == 1
    first, missing, last = json.loads(capsys.readouterr().out)
    assert first == {"image": str(folder / "b.png")} | GOOD
    assert (missing["success"], missing["error"]["code"]) == (False, "unreadable_file")
    assert last["image"].endswith("a.JPG")


def test_images_go_in_batches(folder, service):
    service.answers = [results(GOOD, GOOD), results(GOOD, GOOD)]
    assert main([str(folder), "--url", service.url, "--batch", "2"]) == 0
    assert [count for _, _, count in service.asked] == [2, 2]


def test_a_busy_service_is_asked_again(folder, service):
    busy = {"success": False, "error": {"code": "overloaded", "message": "Too many.", "request_id": "1"}}
    service.answers = [(503, {"Retry-After": "0"}, busy), (503, {"Retry-After": "0"}, busy), results(GOOD)]
    assert main([str(folder / "b.png"), "--url", service.url]) == 0
    assert len(service.asked) == 3


def test_a_service_that_stays_busy_is_not_asked_for_ever(folder, service, capsys):
    busy = {"success": False, "error": {"code": "overloaded", "message": "Too many.", "request_id": "1"}}
    service.answers = [(503, {"Retry-After": "0"}, busy)] * 50
    assert main([str(folder / "b.png"), "--url", service.url]) == 1
    assert "overloaded: Too many." in capsys.readouterr().out
    assert len(service.asked) < 10


def test_the_key_goes_along_and_a_wrong_one_ends_it(folder, service, capsys, monkeypatch):
    refusal = {
        "success": False,
        "error": {"code": "unauthorized", "message": "Send a valid API key.", "request_id": "1"},
    }
    service.answers = [results(GOOD), (401, {}, refusal)]
    monkeypatch.setenv("MNIST_KEY", "secret")
    assert main([str(folder / "b.png"), "--url", service.url]) == 0
    assert service.asked[0][1]["X-API-Key"] == "secret"
    assert main([str(folder / "b.png"), "--url", service.url, "--key", "wrong"]) == 1
    assert service.asked[1][1]["X-API-Key"] == "wrong"
    assert capsys.readouterr().err.strip() == "error: Send a valid API key."


def test_a_service_on_this_machine_is_asked_without_a_proxy(folder, service, monkeypatch):
    service.answers = [results(GOOD), results(GOOD)]
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    for url in (service.url, service.url.replace("127.0.0.1", "localhost")):
        assert main([str(folder / "b.png"), "--url", url]) == 0


def test_other_machines_are_asked_through_the_proxy(folder, service, monkeypatch):
    service.answers = [results(GOOD)]
    monkeypatch.setenv("http_proxy", service.url)
    assert main([str(folder / "b.png"), "--url", "http://digits.example.com"]) == 0
    assert service.asked[0][0] == "http://digits.example.com/api/mnist/batch"


def test_plain_errors_for_what_is_not_there(folder, service, capsys):
    assert main([str(folder / "*.bmp")]) == 2
    assert capsys.readouterr().err == "error: no images there; name files, folders or globs\n"
    assert main([str(folder / "b.png"), "--url", "http://127.0.0.1:1"]) == 1
    assert "nothing answers at http://127.0.0.1:1/api/mnist/batch" in capsys.readouterr().err
    service.answers = [(200, {}, b"<html>")]
    assert main([str(folder / "b.png"), "--url", service.url]) == 1
    assert "does not answer as this service does" in capsys.readouterr().err


@pytest.mark.parametrize("batch", ["0", "257", "many"])
def test_a_batch_has_1_to_256_images(batch, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["x.png", "--batch", batch])
    assert ended.value.code == 2
    assert "--batch" in capsys.readouterr().err


@pytest.mark.parametrize("retry_after", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", ""])
def test_a_gateways_refusal_is_tried_again_whatever_its_header(folder, service, monkeypatch, retry_after):
    monkeypatch.setattr("client.service.WAIT", 0)
    service.answers = [(429, {"Retry-After": retry_after}, {"error": "Slow down"}), results(GOOD)]
    assert main([str(folder / "b.png"), "--url", service.url]) == 0
    assert len(service.asked) == 2


@pytest.mark.parametrize("answer", [{"error": "Forbidden"}, ["no"], {"error": {"code": 403}}])
def test_an_error_of_a_gateway_is_told_by_its_status(folder, service, capsys, answer):
    service.answers = [(403, {}, answer)]
    assert main([str(folder / "b.png"), "--url", service.url]) == 1
    assert "403: The service answered with status 403." in capsys.readouterr().out


@pytest.mark.parametrize("answer", [{"status": "ok"}, ["no"], b"<html>"])
def test_another_program_at_the_port_is_told(folder, service, capsys, answer):
    service.answers = [(200, {}, answer)]
    assert main([str(folder / "b.png"), "--url", service.url]) == 1
    assert "does not answer as this service does" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["two\nlines.png", 'a "quote", and a comma.png', "caf\udce9.png"])
@pytest.mark.parametrize("form", ["csv", "json"])
def test_any_file_name_goes_through(tmp_path, service, name, form):
    (tmp_path / name).write_bytes(b"x")
    service.answers = [results(GOOD)]
    words = [sys.executable, "-m", "client", "--url", service.url, "--format", form, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, cwd=ROOT, env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"})
    assert done.returncode == 0, done.stderr
    if form == "json":
        assert json.loads(done.stdout)[0]["image"] == str(tmp_path / name)
    else:
        [[_, *_], [shown, label, *_]] = csv.reader(io.StringIO(done.stdout.decode(), newline=""))
        assert (shown.endswith(name.replace("\udce9", "\\udce9")), label) == (True, "7")


def test_a_folder_that_cannot_be_listed_is_a_failure(folder, service, monkeypatch):
    """Its images must not be missing from a run that says all was read."""

    def listed(top, onerror):
        yield str(top), [], ["b.png"]
        onerror(PermissionError(13, "Permission denied", f"{top}/deep"))

    monkeypatch.setattr("os.walk", listed)
    service.answers = [results(GOOD)]
    assert main([str(folder), "--url", service.url]) == 1


def test_what_cannot_be_written_is_one_line(service, folder):
    service.answers = [results(GOOD)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "client", str(folder / "b.png"), "--url", service.url],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


def test_a_closed_standard_input_is_an_unreadable_file(folder):
    closed = ["sh", "-c", 'exec "$0" -m client - --format csv <&-', sys.executable]
    done = subprocess.run(closed, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "unreadable_file" in done.stdout
