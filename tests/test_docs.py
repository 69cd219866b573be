"""The documents are true: their code blocks run, what they name exists, the drawing's arrows are the imports."""

import ast
import itertools
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from tests.documents import blocks, here, shell
from tests.test_deploy import instructions
from train.pack import ROOT

DOCUMENTS = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
CLIENTS = "clients.md"  # tests/e2e/test_clients.py runs it and compares what it prints
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
RUN = {"sh", "bash", "json", "yaml"}  # what is run or parsed below
PROSE = {"", "text", "mermaid"}  # listings of output, drawings, and commands that go on until someone ends them

# What takes minutes or needs an engine is looked up instead of run: a target has to exist, an option to be known.
LOOKED_UP = f"""
make() {{ command make --dry-run "$@" >/dev/null; }}
docker() {{ printf '%s ' docker "$@"; echo; }}
kubectl() {{ printf '%s ' kubectl "$@"; echo; }}
haproxy() {{ if type -P haproxy >/dev/null; then command haproxy "$@"; fi; }}
promtool() {{ if type -P promtool >/dev/null; then command promtool "$@"; fi; }}
python() {{
  case "$1 $2" in
    "-m train" | "-m bench"* | "-m tests"*) known "$@" ;;
    *) {shlex.quote(sys.executable)} "$@" ;;
  esac
}}
known() {{
  command=("${{@:1:2}}"); shift 2
  case "${{1-}}" in [a-z]*) command+=("$1"); shift ;; esac
  help=$({shlex.quote(sys.executable)} "${{command[@]}}" --help)
  for word in "$@"; do case $word in --*) grep -qF -- "${{word%%=*}}" <<<"$help" ;; esac; done
}}
"""


def every(language: str) -> list:
    """The blocks of all documents in a language, each named after its document."""
    return [
        pytest.param(block, id=f"{document.stem}-{number}")
        for document in DOCUMENTS
        if document.name != CLIENTS
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
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
            assert "://" in link or (document.parent / link).exists(), f"{document.name}: {link}"


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
    proxy = {f"proxy/{name}.py" for name in ("app", "api", "upload", "predictor", "lane", "torchserve")}
    handler = {f"handler/{name}.py" for name in ("mnist_handler", "reader", "decode", "canonical", "forward", "answer")}
    assert proxy | handler <= drawn


def test_changelog_knows_the_version():
    from proxy import VERSION

    assert re.search(
        rf"^## \[{re.escape(VERSION)}\] - \d{{4}}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )


def test_contributing_fits_a_screen():
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 50
