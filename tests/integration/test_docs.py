"""The documents are true: their code blocks run, their tables agree with the code, what they name exists."""

import ast
import itertools
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from decode import PictureError
from proxy.errors import Cause, ImageError, ServiceError
from proxy.settings import table
from tests import documents
from tests.documents import LOOKED_UP, blocks, here, shell
from tests.unit.test_deploy import instructions
from train.own_model import ROOT

ROOT_NAMES = ("CONTRIBUTING", "CHANGELOG", "SECURITY")
DOCUMENTS = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / f"{name}.md" for name in ("CONTRIBUTING", "CHANGELOG", "SECURITY")),
]
CLIENTS = "clients.md"  # tests/integration/test_clients.py runs it and compares what it prints
OWN_MODEL = "own-model.md"  # tests/integration/test_fashion.py runs it
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
TROUBLESHOOTING = (ROOT / "docs/troubleshooting.md").read_text()
RUN = {"sh", "bash", "json", "yaml"}  # what is run or parsed below
PROSE = {"", "text", "mermaid"}  # listings of output, drawings, and commands that go on until someone ends them


def every(language: str) -> list:
    """The blocks of all documents in a language, each named after its document."""
    return [
        pytest.param(block, id=f"{document.stem}-{number}")
        for document in DOCUMENTS
        if document.name not in (CLIENTS, OWN_MODEL)
        for number, block in enumerate(blocks(document.read_text(), language), 1)
    ]


def test_every_block_is_of_a_language_that_is_run():
    for document in DOCUMENTS:
        known = RUN | PROSE | ({"python", "javascript"} if document.name == CLIENTS else set())
        opened = re.findall(r"^```(.*)$", document.read_text(), re.MULTILINE)[::2]
        assert set(opened) <= known, document.name


@pytest.mark.parametrize("script", every("sh|bash"))
def test_shell(script, service):
    for line in shell(here(script, service), LOOKED_UP).splitlines():
        words = shlex.split(line) if line.startswith(("docker ", "kubectl ")) else ()
        arguments = [word.partition("=")[0] for before, word in itertools.pairwise(words) if before == "--build-arg"]
        assert set(arguments) <= {name.partition("=")[0] for name in instructions("ARG")}
        for folder in (word for word in words if word.startswith("deploy/")):
            assert (ROOT / folder / "kustomization.yaml").exists()


def test_what_is_looked_up_can_be_wrong(service):
    for mistaken in ("make nonsense", "python -m train fit --nonsense", "python -m train nonsense"):
        with pytest.raises(AssertionError):
            shell(mistaken, LOOKED_UP)
    shell("python -m train fit --quick --seed 1\nmake check", LOOKED_UP)


@pytest.mark.parametrize("text", [*every("json"), *every("yaml")])
def test_data(text):
    assert yaml.safe_load(text) is not None  # JSON is YAML


def test_links_lead_somewhere():
    for document in DOCUMENTS:
        for link in re.findall(r"\]\(([^)]+)\)", document.read_text()):
            assert documents.leads_somewhere(document, link), f"{document.name}: {link}"


def test_files_named_exist():
    named = r"`((?:handler|proxy|serve|train|deploy|docs|samples|tests|bench)/[\w./-]+)`"
    for document in DOCUMENTS:
        for name in re.findall(named, document.read_text()):
            assert (ROOT / name).exists(), f"{document.name}: {name}"


def drawing() -> tuple[dict[str, Path], list[tuple[str, str]]]:
    """The drawing's modules by their names in it, and its solid arrows between modules."""
    [text] = blocks(ARCHITECTURE, "mermaid")
    modules = {name: ROOT / file for name, file in re.findall(r'(\w+)\["([\w/]+\.py)', text)}
    return modules, re.findall(r"^\s*(\w+) --> (\w+)$", text, re.MULTILINE)


def imports(file: Path) -> set[str]:
    """Last parts of the names of all modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module.split(".")[-1], *(alias.name for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[-1] for alias in node.names}
    return found


def test_the_drawing_is_true():
    modules, arrows = drawing()
    assert len(arrows) >= 12
    for file in modules.values():
        assert file.exists()
    for start, end in arrows:
        assert modules[end].stem in imports(modules[start]), f"{start} --> {end}"


def test_the_drawing_shows_the_way_of_an_upload():
    modules, _ = drawing()
    drawn = {str(file.relative_to(ROOT)) for file in modules.values()}
    proxy = {f"proxy/{name}.py" for name in ("server", "app", "upload", "admission", "batcher", "torchserve")}
    handler = {f"handler/{name}.py" for name in ("mnist_handler", "reader", "decode", "canonical", "forward", "answer")}
    assert proxy | handler <= drawn


def test_the_sentence_on_chaos_is_that_of_its_report():
    [total] = re.findall(r"^\| \*\*all\*\* .*", (ROOT / "docs/chaos.md").read_text(), re.MULTILINE)
    faults, sent, *_, wrong, lost = re.findall(r"\*\*([\d,]+)\*\*", total)
    assert (wrong, lost) == ("0", "0")
    assert f"{faults} faults, {sent} requests" in (ROOT / "docs/robust.md").read_text()


def test_changelog_knows_the_version():
    from proxy import VERSION

    assert re.search(
        rf"^## \[{re.escape(VERSION)}\] - \d{{4}}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )


def rows(text: str, name: str) -> list[list[str]]:
    """The cells of the table in a marked section, without its head."""
    [section] = re.findall(rf"<!-- {name} -->\n.*\n.*\n([\s\S]*?)<!-- /{name} -->", text)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in section.splitlines()]


def test_settings_table():
    shown = [[cell.strip("`") for cell in row] for row in rows((ROOT / "docs/settings.md").read_text(), "settings")]
    of_cpus = {"TS_WORKERS": "2 to 8"}
    assert shown == [[name, of_cpus.get(name, value or "none"), about] for name, value, about in table()]


def test_torchserves_apis(service):
    [script] = blocks((ROOT / "docs/clients.md").read_text(), "sh")
    before = len(service.workers("mnist"))
    try:
        output = shell(here(script, service))
    finally:
        [scale] = re.findall(r"^curl.*PUT.*$", script, re.MULTILINE)
        token = script.splitlines()[0]
        back = re.sub("min_worker=[0-9]+", f"min_worker={before}&max_worker={before}", scale)
        shell(here(f"{token}\n{back}", service))
    assert output.count('"prediction": {"class_name": "seven"') == 2
    assert '"modelName": "mnist_large"' in output
    assert "Workers scaled to 3 for model: mnist" in output
    assert "ts_inference_requests_total" in output


def leaves(kind: type[Exception]) -> Iterator[type[Exception]]:
    """The classes derived from `kind` that nothing is derived from."""
    for each in kind.__subclasses__():
        yield from leaves(each) if each.__subclasses__() else [each]


def test_every_error_and_cause_has_a_remedy():
    told = set(re.findall(r"^\| (\d+ `\w+`|`\w+`) \|", TROUBLESHOOTING, re.MULTILINE))
    raised = [error for error in (*leaves(ServiceError), *leaves(PictureError)) if error is not ImageError]
    wanted = {f"{error.status} `{error.code}`" for error in raised} | {
        f"`{cause.value}`" for cause in Cause if cause.value
    }
    assert wanted <= told


@pytest.mark.parametrize(
    "environment",
    [
        {"TRIP_BYTES": "1"},
        {"BATCH_SIZE": "many"},
        {"HOST": "no-such-name.invalid"},
        {"HOST": "192.0.2.1"},
        {"PORT": "taken"},
        {"TS_INFERENCE_PORT": "taken"},
        {"MODEL_STORE": "/nonexistent"},
        {"JAVA_HOME": "/nonexistent"},
    ],
    ids=lambda environment: "-".join(itertools.chain(*environment.items())),
)
def test_a_start_that_fails_is_explained(environment, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        ports = {"taken": str(taken.getsockname()[1]), "free": str(free.getsockname()[1])}
        free.close()
        variables = {"PORT": ports["free"], "RUN_DIR": str(tmp_path)} | environment
        started = subprocess.run(
            [sys.executable, "-m", "serve"],
            cwd=ROOT,
            env=os.environ | {name: ports.get(value, value) for name, value in variables.items()},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert started.returncode == 1
    [line] = started.stderr.splitlines()
    messages = [row[0].strip("`") for row in rows(TROUBLESHOOTING, "start")]
    patterns = [".*".join(map(re.escape, message.split("…"))) for message in messages]
    assert [message for message, pattern in zip(messages, patterns, strict=True) if re.match(pattern, line)], line
