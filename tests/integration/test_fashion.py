"""docs/own-model.md is true: Fashion-MNIST is trained, measured, served and rolled out by the commands on the page."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests
from playwright.sync_api import expect, sync_playwright

from tests.browser import ARGUMENTS, CHROMIUM, DESKTOP
from tests.documents import blocks, here
from tests.stack import ROOT, START, Stack, wait_until
from train.research.uploads import FASHION

PAGE = (ROOT / "docs/own-model.md").read_text()
EXAMPLE = ROOT / "examples/fashion"
TRAIN, SERVE, CURL, SERVED, ROLLOUT, CONTAINER = blocks(PAGE, "sh")
NAMES = json.loads((EXAMPLE / "model.json").read_text())["class_names"]
DIGITS = json.loads((ROOT / "handler/model.json").read_text())["class_names"]
BOOT = EXAMPLE / "ankle-boot.png"
# What is installed stays as it is; one epoch shows what five do.
MAKE = 'make() { command make --assume-old=.venv/.client --assume-old=.venv/.training "$@"; }\n'

pytestmark = pytest.mark.skipif(not FASHION.exists(), reason="apt-get install dataset-fashion-mnist")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A copy of the example, trained for one epoch and measured by the page's commands."""
    folder = tmp_path_factory.mktemp("models") / "fashion"
    folder.mkdir()
    for name in ("model.json", "dataset.py", "reader.py"):
        shutil.copyfile(EXAMPLE / name, folder / name)
    quick = TRAIN.replace("train-quick", "train-quick ARGS='--epochs 1'")
    said = ran(quick, folder)
    assert "validation accuracy" in said
    assert "| Accuracy |" in said
    return folder


def ran(script: str, folder: Path, **environment: str) -> str:
    """What the page's commands write, with this folder in place of the example's."""
    text = "set -euo pipefail\n" + MAKE + re.sub(r"(MODEL=|--model )examples/fashion", rf"\1{folder}", script)
    variables = os.environ | environment
    done = subprocess.run(["bash", "-c", text], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def fashion(folder, tmp_path_factory) -> Iterator[Stack]:
    """The service that the page's `make serve` starts, on ports of its own."""
    stack = Stack(tmp_path_factory.mktemp("fashion"), DEADLINE_SECONDS="2", TS_WORKERS="1")
    text = MAKE.replace("command make", "exec make") + SERVE.replace("examples/fashion", str(folder))
    with stack.output.open("ab") as output:
        stack.supervisor = psutil.Popen(
            ["bash", "-c", text], cwd=ROOT, env=stack.environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_until(lambda: "ready in " in stack.output.read_text(), START, "the supervisor's word")
        yield stack
    finally:
        stack.stop()


def documented(stack: Stack) -> list[str]:
    """The classes that the OpenAPI document names."""
    document = requests.get(f"http://127.0.0.1:{stack.port}/openapi.json", timeout=15).json()
    return document["components"]["schemas"]["Class"]["properties"]["class_name"]["enum"]


def classified(stack: Stack) -> dict:
    """The answer to an ankle boot."""
    url = f"http://127.0.0.1:{stack.port}/api/mnist?details=1"
    return requests.post(url, files={"image": BOOT.read_bytes()}, timeout=15).json()


def test_the_page_shows_the_examples_model_json():
    shown = json.loads(blocks(PAGE, "json")[0])
    assert shown == json.loads((EXAMPLE / "model.json").read_text())
    keys = set(re.findall(r"^\| (`.+?`(?:, `\w+`)*) \|", PAGE, re.MULTILINE))
    assert {key for cell in keys for key in re.findall(r"`(\w+)`", cell)} == {*shown, "symbols"}


def test_curl_answers_with_the_models_classes(fashion):
    answer = json.loads(subprocess.run(["bash", "-c", here(CURL, fashion)], cwd=ROOT, capture_output=True).stdout)
    assert [one["class_name"] for one in answer["predictions"]["all"]] == NAMES
    assert answer["predictions"]["prediction"]["class_name"] == "ankle boot"


def test_no_verdict_is_given_and_the_model_has_its_own_name(fashion):
    details = classified(fashion)["details"]
    assert list(details) == ["warnings", "image_seen", "model"]
    assert details["model"]["name"] == "fashion-mnist"
    metrics = requests.get(f"http://127.0.0.1:{fashion.port}/metrics", timeout=15).text
    assert re.search(r'^mnist_model_info\{name="fashion-mnist",', metrics, re.MULTILINE)


def test_openapi_tells_the_classes(fashion):
    assert documented(fashion) == NAMES


def test_the_service_is_as_right_as_the_net(fashion, folder):
    said = ran(f"{SERVED.strip()} --url http://127.0.0.1:{fashion.port}\n", folder)
    right = float(re.search(r"right: ([\d.]+)%", said)[1])
    measured = json.loads((folder / "figures/metrics.json").read_text())["splits"]["test"]["accuracy"]
    assert right == pytest.approx(100 * measured, abs=0.02)  # sums of another order
    assert right > 70  # one epoch of five


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="apt-get install chromium")
def test_page_openapi_and_answers_follow_a_rollout(fashion, folder, model_store):
    environment = {
        name: fashion.environment[name] for name in ("PORT", "RUN_DIR", "HOST", "DEADLINE_SECONDS", "TS_WORKERS")
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(**DESKTOP)
        page.goto(f"http://127.0.0.1:{fashion.port}/")
        expect(page.locator("#bars b")).to_have_text(NAMES)
        expect(page.locator("h1")).to_have_text("Draw a piece of clothing")
        page.set_input_files("#file", BOOT)
        expect(page.locator("#sentence")).to_have_text(re.compile(r"^This (is|may be) an ankle boot\.$"))
        expect(page.locator("#samples-section")).to_be_hidden()

        ran("make rollout", folder, **environment, MODEL_STORE=str(model_store))
        assert documented(fashion) == DIGITS
        assert "verdict" in classified(fashion)["details"]
        page.set_input_files("#file", ROOT / "samples/7.png")
        expect(page.locator("#sentence")).to_have_text("This is a seven.")
        expect(page.locator("#bars b")).to_have_text([*"0123456789"])
        expect(page.locator("h1")).to_have_text("Draw a digit")
        browser.close()

    ran(ROLLOUT.removesuffix("make rollback\n"), folder, **environment)
    assert classified(fashion)["details"]["model"]["version"] == "2.0"
    ran("make rollback\n", folder, **environment)
    assert classified(fashion)["details"]["model"]["name"] == "mnist"
    assert ROLLOUT.endswith("make rollback\n")


def test_the_container_is_given_what_make_serve_exports():
    pack, run = CONTAINER.splitlines()
    assert pack == f"make mar {re.search(r'MODEL=[^ ]+', SERVE)[0].strip()}"
    [store] = re.findall(r"--env MODEL_STORE=(\S+)", run)
    assert f'--volume "$PWD/{EXAMPLE.relative_to(ROOT)}:{store}:ro"' in run
