"""README.md is true: its commands are run as they stand, its tables compared with the code."""

import contextlib
import io
import json
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
import requests
from torch import nn

from lenet import LeNet
from tests import documents
from tests.documents import here, shell
from train.own_model import ROOT

README = (ROOT / "README.md").read_text()
blocks = partial(documents.blocks, README)


def scripts(*words: str) -> list[str]:
    return [block for block in blocks("sh") if any(word in block for word in words)]


def test_every_shell_block_is_run_by_a_test():
    assert set(blocks("sh")) == set(scripts("api/mnist", "make ", "docker "))


@pytest.mark.parametrize("script", scripts("make ", "docker "))
def test_commands_that_go_on_are_known(script):
    shell(script, documents.LOOKED_UP)


@pytest.mark.parametrize("script", scripts("api/mnist"))
def test_curl(service, script):
    answers = [json.loads(line) for line in shell(here(script, service)).splitlines()]
    assert len(answers) == script.count("curl")
    assert all(answer["success"] for answer in answers)


def test_python_client(service):
    [script] = [block for block in blocks("python") if "requests" in block]
    said = io.StringIO()
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(said):
        exec(compile(here(script, service), "README.md", "exec"), {})  # noqa: S102
    assert said.getvalue() == "five\n"


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node")
def test_browser_fetch_in_node(service):
    [script] = blocks("js")
    page = f"""
        const {{ openAsBlob }} = await import("node:fs");
        const file = new File([await openAsBlob({json.dumps(str(ROOT / "samples/8.png"))})], "8.png");
        globalThis.document = {{ querySelector: () => ({{ files: [file] }}) }};
    """
    command = ["node", "--no-warnings", "--input-type=module", "--eval", page + here(script, service)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "eight\n", done.stderr


def test_the_answer_is_the_one_shown(service):
    shown = json.loads(blocks("json")[0])
    files = {"image": (ROOT / "samples/7.png").read_bytes()}
    real = requests.post(f"http://127.0.0.1:{service.port}/api/mnist", files=files, timeout=15).json()
    assert rounded(shown) == rounded(real)


def rounded(body: dict) -> str:
    """The body as text, its keys in order, with probabilities of three digits: the others differ between processors."""
    return json.dumps(json.loads(json.dumps(body), parse_float=lambda text: round(float(text), 3)))


def test_lenet_is_as_shown():
    [shown] = [block for block in blocks("python") if "Conv2d" in block]
    parts = dict(vars(nn))
    exec(compile(shown, "README.md", "exec"), parts)  # noqa: S102
    net = LeNet()
    assert str(parts["features"]) == str(net.features)
    assert str(parts["classifier"]) == str(net.classifier)
    assert f"{sum(parameter.numel() for parameter in net.parameters()):,} parameters" in README


def test_make_targets_exist():
    helped = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    known = set(re.findall(r"make ([a-z-]+)", helped))
    named = {word for line in re.findall(r"\bmake ((?:[a-z-]+ ?)+)(?=[`\n]|$)", README) for word in line.split()}
    assert {"serve", "test", "train", "mar", "rollout", "rollback"} <= named <= known | {"help"}


def test_files_named_exist():
    names = re.findall(r"`((?:handler|proxy|serve|train|samples|docs|deploy)/[\w./-]*)`", README)
    assert names
    assert not [name for name in names if not Path(ROOT, name).exists()]


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert len(links) > 10
    assert not [link for link in links if not documents.leads_somewhere(ROOT / "README.md", link)]
