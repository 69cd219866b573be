"""Training: it learns, to the same bits every time, resumes, and Ctrl-C keeps the best so far."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lenet import LeNet
from train import fit as command
from train import loop, mnist
from train.loop import fit
from train.measure import accuracy, cross_entropy, logits_of, temperature_of
from train.mnist import Digits
from train.recipe import QUICK, Recipe
from train.teacher import Teacher, Teachers

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def splits():
    return mnist.load()


@pytest.fixture
def few(splits) -> tuple[Digits, Digits]:
    """Enough digits for a run of a second."""
    return splits[0][:6_000], splits[1][:1_000]


SHORT = replace(QUICK, epochs=3)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_quick_recipe_learns(splits):
    train, validation, _ = splits
    fitted = fit(LeNet, replace(QUICK, epochs=1), train, validation)
    untrained = accuracy(logits_of(LeNet(), validation.pictures), validation.labels)
    assert untrained < 0.4
    assert fitted.best["validation_accuracy"] > 0.95
    assert accuracy(logits_of(fitted.net, validation.pictures), validation.labels) > 0.95


def test_same_recipe_same_bits_and_another_seed_others(few):
    first, second, other = (fit(LeNet, replace(SHORT, seed=seed), *few) for seed in (1, 1, 2))
    assert same(first.net, second.net)
    assert not same(first.net, other.net)


def test_resumed_run_ends_in_the_same_bits(few, tmp_path, monkeypatch):
    recipe = replace(SHORT, fresh=2)
    whole = fit(LeNet, recipe, *few, kept=tmp_path / "pictures")
    stop_after(monkeypatch, epochs=2)
    stopped = fit(LeNet, recipe, *few, checkpoint=tmp_path / "c")
    assert stopped.interrupted
    monkeypatch.undo()
    resumed = fit(LeNet, recipe, *few, checkpoint=tmp_path / "c", resume=True, kept=tmp_path / "pictures")
    assert [e["train_loss"] for e in resumed.history] == [e["train_loss"] for e in whole.history]
    assert same(whole.net, resumed.net)


def stop_after(monkeypatch, epochs: int) -> None:
    save = loop.State.save

    def save_then_stop(state, path):
        save(state, path)
        if len(state.history) == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.State, "save", save_then_stop)


def test_resuming_another_recipe_is_refused(few, tmp_path):
    fit(LeNet, replace(SHORT, epochs=1), *few, checkpoint=tmp_path / "c")
    with pytest.raises(ValueError, match="another recipe"):
        fit(LeNet, replace(SHORT, epochs=1, rate=1e-3), *few, checkpoint=tmp_path / "c", resume=True)


def test_ctrl_c_keeps_the_best_so_far(tmp_path):
    seed, out = os.getpid(), tmp_path / "weights.pt"
    checkpoint = command.RUN / f"quick-{seed}-0.checkpoint"
    line = [sys.executable, "-m", "train", "fit", "--quick", "--epochs", "10", "--seed", str(seed), "--out", str(out)]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  (a test run in the background ignores it)
    run = subprocess.Popen(line, cwd=REPOSITORY, preexec_fn=heed, **pipes)
    try:
        deadline = time.monotonic() + 240
        while not checkpoint.exists() and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        run.send_signal(signal.SIGINT)
        stdout, stderr = run.communicate(timeout=240)
    finally:
        run.kill()
        checkpoint.unlink(missing_ok=True)
    assert run.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert "validation accuracy" in stdout
    net = LeNet()
    net.load_state_dict(torch.load(out, weights_only=True))
    _, validation, _ = mnist.load()
    assert accuracy(logits_of(net, validation.pictures), validation.labels) > 0.9


def test_missing_data_is_one_plain_line(tmp_path):
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    line = [sys.executable, "-m", "train", "fit", "--quick", "--data", str(tmp_path)]
    run = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stdout.startswith("error: ")
    assert "is missing; delete" in run.stdout
    assert "Traceback" not in run.stderr


def test_temperature_is_found_and_folded_in(few):
    net = fit(LeNet, replace(SHORT, epochs=1), *few).net
    validation = few[1]
    with torch.no_grad():
        net.classifier[-1].weight *= 1.5
        net.classifier[-1].bias *= 1.5
    before = logits_of(net, validation.pictures)
    temperature = command.fold_temperature(net, validation)
    after = logits_of(net, validation.pictures)
    assert temperature != 1
    assert torch.allclose(after * temperature, before, atol=1e-4)
    assert cross_entropy(after, validation.labels) < cross_entropy(before, validation.labels)
    assert temperature_of(after, validation.labels) == pytest.approx(1, abs=0.01)


def test_teacher_pulls_the_student_towards_its_answers(few):
    train, validation = few
    torch.manual_seed(0)
    teach = Teachers([Teacher(4), Teacher(4)])
    mean = torch.stack([net(loop.pixels_of(validation.pictures[:9])) for net in teach.nets]).mean(0)
    assert torch.allclose(teach(validation.pictures[:9]), mean, atol=1e-5)
    wanted = teach(validation.pictures).softmax(1)

    def distance(trust: float) -> float:
        recipe = replace(SHORT, epochs=2, softness=1.0, trust=trust)
        logits = logits_of(fit(LeNet, recipe, train, validation, teach=teach).net, validation.pictures)
        return (logits.softmax(1) - wanted).abs().sum(1).mean().item()

    assert distance(1.0) < 0.5 * distance(0.0)


def test_rate_warms_up_then_falls_to_zero():
    recipe = Recipe(rate=1.0, warm_up=0.1)
    assert recipe.rate_at(0.05) == pytest.approx(0.5)
    assert recipe.rate_at(0.1) == pytest.approx(1.0)
    assert recipe.rate_at(0.55) == pytest.approx(0.5)
    assert recipe.rate_at(0.9999) < 1e-6
