"""`python -m serve.install` in an environment of its own, with small packages in the real ones' places."""

import shutil
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from serve.install import Section, announcement, answers, cpu_index, has_nvidia_gpu, pins
from tests.stack import ROOT

REQUIREMENTS = """# serving
torch==1.0                 # a comment
# client: the command line
mnist-client-part==1.0
# training
mnist-training-part==1.0

# tests
mnist-tests-part==1.0
"""


def wheel(folder, name, version):
    """An empty package that pip installs."""
    folder.mkdir(parents=True, exist_ok=True)
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
    return folder / ".venv"


@pytest.fixture
def clone(tmp_path, environment):
    """A checkout with these requirements, wheels to find them among, and an empty environment of its own."""
    (tmp_path / "serve").mkdir()
    shutil.copy(ROOT / "serve/install.py", tmp_path / "serve")
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.txt").write_text(REQUIREMENTS)
    for pin in pins(Section.TESTS, tmp_path / "requirements.txt"):
        wheel(tmp_path / "wheels", *pin.split("=="))
    shutil.copytree(environment, tmp_path / ".venv", symlinks=True)
    return tmp_path


def pip_variables(clone):
    """No index but the folder of wheels, whatever this machine's pip is set up for."""
    return {"PATH": "/usr/bin:/bin", "PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": str(clone / "wheels")}


def installed(clone):
    command = [clone / ".venv/bin/python", "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return {line for line in listed if not line.startswith(("pip=", "setuptools="))}


def test_serving_alone_then_what_tests_need(clone):
    """`make serve` needs the first file and `make test` the second."""
    variables = pip_variables(clone) | {"PIP_NO_INDEX": "1"}
    for stamp, section, packages in (
        (".client", "serving, client", {"torch==1.0", "mnist-client-part==1.0"}),
        (
            ".tests",
            "serving, client, training, tests",
            {pin for pin in pins(Section.TESTS, clone / "requirements.txt")},
        ),
    ):
        made = subprocess.run(["make", f".venv/{stamp}"], cwd=clone, env=variables, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        assert installed(clone) == packages
        assert made.stdout.startswith(f"installing the packages for {section} into ")
        assert "GB to download" in made.stdout


def test_targets_name_the_packages_that_they_need():
    """What `make` would do in a clone where nothing is installed."""
    for target, section in {"serve": "client", "train": "training", "test": "tests", "bench": "tests"}.items():
        plan = ["make", "--dry-run", "--always-make", target]
        lines = subprocess.run(plan, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert f"-m serve.install {section}" in lines
        assert ("-m serve.install tests" in lines) == (section == "tests")


@contextmanager
def serving(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@pytest.mark.skipif(has_nvidia_gpu(), reason="with an NVIDIA GPU the CUDA build is wanted")
def test_torchs_cpu_build_comes_by_itself(clone):
    wheel(clone / "pypi/torch", "torch", "1.0")
    wheel(clone / "cpu/torch", "torch", "1.0+cpu")
    with serving(partial(Quiet, directory=clone)) as url:
        (clone / "pip.conf").write_text(f"[global]\nindex-url = {url}/pypi\n")
        command = [clone / ".venv/bin/python", "-m", "serve.install", "serving", "--cpu-index", f"{url}/cpu"]
        variables = {"PATH": "/usr/bin:/bin", "PIP_CONFIG_FILE": str(clone / "pip.conf")}
        done = subprocess.run(command, cwd=clone, env=variables, check=True, capture_output=True, text=True)
        assert f"torch's CPU build from {url}/cpu" in done.stdout
        assert installed(clone) == {"torch==1.0+cpu"}


def test_an_index_that_the_user_names_is_the_only_one(tmp_path):
    (tmp_path / "torch").mkdir()
    with serving(partial(Quiet, directory=tmp_path)) as url:
        for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
            assert cpu_index(url, {name: "1"}) is None
        assert cpu_index(url, {}) == (None if has_nvidia_gpu() else url)


def test_an_index_that_refuses_is_left_alone():
    with serving(Quiet) as url:
        assert not answers(f"{url}/no-such-index")
    assert not answers(url)  # nobody listens there any more
    assert "CUDA" in announcement(Section.SERVING, None)


def test_an_index_that_hangs_is_left_alone():
    over = threading.Event()

    class Hanging(BaseHTTPRequestHandler):
        def do_GET(self):
            over.wait(60)

    with serving(Hanging) as url:
        started = time.monotonic()
        assert not answers(url)
        waited = time.monotonic() - started
        over.set()
    assert waited < 60, "it was asked until it answered"
