"""The ablation: appended as runs end, resumable, and its table is that of its results."""

import json
from argparse import Namespace

import pytest

from train import fit, mnist, tables
from train.recipe import SEEDS
from train.research import ablate


@pytest.fixture
def few(monkeypatch):
    train, validation, test = (digits[:2_000] for digits in mnist.load())
    monkeypatch.setattr(ablate.mnist, "load", lambda root: (train, validation, test))
    steps = dict(list(ablate.STEPS.items())[:2])
    monkeypatch.setattr(ablate, "STEPS", steps)
    return steps


def test_runs_are_appended_and_not_repeated(few, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ablate, "DOCS", tmp_path)
    (tmp_path / "training.md").write_text("<!-- ablation -->\n<!-- /ablation -->\n")
    monkeypatch.setattr(fit, "RUN", tmp_path / "run")
    args = Namespace(
        epochs=1, digits=1_000, seeds=[1, 2], device="cpu", results=tmp_path / "results.jsonl", data=mnist.ROOT
    )
    monkeypatch.setattr(ablate, "RESULTS", args.results)
    assert ablate.run(args) == 0
    lines = [json.loads(line) for line in args.results.read_text().splitlines()]
    assert [(line["step"], line["seed"]) for line in lines] == [(step, seed) for step in few for seed in (1, 2)]
    assert 0 < lines[0]["validation_accuracy"] < 1
    written = tables.read(tmp_path / "training.md", "ablation")
    assert all(step in written for step in few)
    monkeypatch.setattr(ablate, "Trainer", lambda *_, **__: pytest.fail("a finished run was repeated"))
    assert ablate.run(args) == 0
    assert len(args.results.read_text().splitlines()) == len(lines)


def test_published_table_is_that_of_the_results():
    lines = ablate.read(ablate.RESULTS)
    assert tables.read(ablate.DOCS / "training.md", "ablation") == ablate.table(lines)
    assert len(lines) >= len(SEEDS) * len(ablate.STEPS)
