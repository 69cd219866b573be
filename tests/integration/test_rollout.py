"""Another version of the model under load and back again: no request is lost, and who answers can be seen."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import requests

from tests.load import dump, load, sample_cases
from tests.stack import ROOT, running, wait_until
from train.pack import pack

CLIENTS = 24
WEIGHTS = ROOT / "train/weights/mnist-classifier.pt"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = tmp_path_factory.mktemp("model_store")
    pack(WEIGHTS, ROOT / "handler", store, "1.0")
    return store


@pytest.fixture(scope="module")
def stack(store, tmp_path_factory):
    settings = {"MODEL_STORE": str(store), "DEADLINE_SECONDS": "3", "TS_WORKERS": "1", "LOG_FORMAT": "off"}
    with running(tmp_path_factory.mktemp("rollout"), **settings) as stack:
        yield stack


@pytest.fixture(scope="module")
def cases(stack):
    return sample_cases(stack.port)


def rollout(stack, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "serve.rollout", *arguments],
        cwd=ROOT,
        env=stack.environment,
        capture_output=True,
        text=True,
        timeout=400,
    )


def counted(stack, version):
    """How many predictions that version has told TorchServe's metrics of, since TorchServe started."""
    text = requests.get(f"http://127.0.0.1:{stack.ports['TS_METRICS_PORT']}/metrics", timeout=10).text
    lines = [line for line in text.splitlines() if line.startswith("mnist_predictions_total{")]
    return sum(float(line.split()[-1]) for line in lines if f'model_version="{version}"' in line)


@contextmanager
def nothing_lost(stack, cases):
    with load(stack.port, cases, CLIENTS, pause=0.05) as tally:
        wait_until(lambda: tally.right > 0, 10, "the first answer")
        yield
        time.sleep(1)
    assert tally.sent == tally.right > 100, dump(tally)


def test_there_and_back_under_load(stack, cases, store):
    java = stack.java.pid
    pack(WEIGHTS, ROOT / "handler", store, "2.0")
    with nothing_lost(stack, cases):
        wait_until(lambda: counted(stack, "1.0") > 0, 20, "version 1.0 counts")  # whatever lies in the store by now
        there = rollout(stack)
        assert there.returncode == 0, there.stderr
        wait_until(lambda: counted(stack, "2.0") > 0, 20, "version 2.0 counts")
    assert "version 2.0 is served" in there.stdout
    assert counted(stack, "1.0") == 0  # a new TorchServe, which has never had version 1.0
    assert stack.java.pid != java

    with nothing_lost(stack, cases):
        back = rollout(stack, "--back")
        assert back.returncode == 0, back.stderr
        wait_until(lambda: counted(stack, "1.0") > 0, 20, "version 1.0 counts again")
    assert "version 1.0 is served" in back.stdout
    assert counted(stack, "2.0") == 0


def test_an_archive_that_does_not_work_changes_nothing(stack, cases, store, tmp_path):
    handler = shutil.copytree(ROOT / "handler", tmp_path / "handler")
    (handler / "lenet.py").write_text((handler / "lenet.py").read_text() + "\n")
    (handler / "forward.py").write_text("raise RuntimeError('this version is broken')\n")
    pack(WEIGHTS, handler, store, "3.0")
    java = stack.java.pid
    with nothing_lost(stack, cases):
        done = rollout(stack)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert stack.java.pid == java


def test_a_damaged_archive_is_refused_at_once(stack, store):
    (store / "mnist.mar").write_bytes((store / "mnist.mar").read_bytes()[:-100])
    done = rollout(stack)
    assert done.returncode == 1
    assert "is broken" in done.stderr


def test_where_nothing_runs_there_is_nothing_to_change(tmp_path):
    environment = os.environ | {"RUN_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "serve.rollout"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: nothing runs in ")
