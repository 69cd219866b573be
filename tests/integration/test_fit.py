"""Training: it learns, the same seed gives the same bits, a stopped run goes on, and Ctrl-C keeps what there is."""

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
from train import mnist
from train.fit import Trainer, fold_temperature
from train.loop import Renderings, Run
from train.measure import accuracy, cross_entropy, logits_of, temperature_of
from train.mnist import Digits
from train.recipe import FULL, QUICK, Plan, Recipe

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def splits():
    return mnist.load()


@pytest.fixture
def few(splits) -> tuple[Digits, Digits]:
    """Enough digits for a run of a second."""
    return splits[0][:6_000], splits[1][:1_000]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """What a run keeps for others stays out of run/train/."""
    monkeypatch.setattr(command, "RUN", tmp_path / "run")


SHORT = replace(QUICK, student=replace(QUICK.student, epochs=3, renderings=2))
WHOLE = Plan(  # every stage, in miniature
    student=replace(FULL.student, epochs=2, renderings=2),
    finish=replace(FULL.finish, epochs=1, renderings=1),
    teacher=replace(FULL.teacher, epochs=1, renderings=2),
    teachers=(101, 102),
    width=4,
)


def fitted(plan: Plan, few, *seeds: int, resume: bool = False) -> list[LeNet]:
    return Trainer(plan, *few, "cpu", resume).fit(seeds or [1])[0]


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_one_epoch_of_the_quick_plan_learns(splits):
    train, validation, _ = splits
    plan = replace(QUICK, student=replace(QUICK.student, epochs=1, renderings=1))
    (net,), (history,) = Trainer(plan, train, validation, "cpu").fit([1])
    assert accuracy(logits_of(LeNet(), validation.pictures), validation.labels) < 0.4
    assert history[-1]["validation_accuracy"] > 0.95
    assert accuracy(logits_of(net, validation.pictures), validation.labels) == history[-1]["validation_accuracy"]


def test_same_seed_gives_the_same_bits_beside_others_too(few):
    alone, (beside, other) = fitted(SHORT, few, 1), fitted(SHORT, few, 1, 2)
    assert same(alone[0], beside)
    assert not same(beside, other)


def test_stacked_nets_learn_as_they_do_alone(few):
    train, _ = few
    data = Renderings(train.pictures[None], train.labels)
    recipe = replace(QUICK.student, epochs=1, renderings=1)
    rates = [recipe.rate_at(step / 24) for step in range(3)]

    def trained(seeds: list[int]) -> Run:
        nets = [command.seeded(LeNet, seed) for seed in seeds]
        run = Run(nets, recipe, seeds, data)
        for rows, rate in zip(run.order(0), rates, strict=False):
            run.rows.copy_(rows)
            run.rate.fill_(rate)
            run.step()
        return run

    both, second = trained([1, 2]), trained([2])
    for name, value in both.params.items():
        assert torch.allclose(value[1], second.params[name][0], atol=1e-4), name


def test_the_whole_plan_is_repeatable_and_keeps_teachers(few):
    first = fitted(WHOLE, few, 3)[0]
    kept = {path.name.split("-")[0] for path in command.RUN.iterdir()}
    assert {"pictures", "teachers", "logits", "student", "finish"} <= kept
    assert same(first, fitted(WHOLE, few, 3)[0])


def test_other_data_gets_other_renderings(few):
    train, validation = few
    fitted(SHORT, few)
    before = {path.name for path in command.RUN.glob("pictures-*")}
    fitted(SHORT, (train[:5_000], validation))
    assert len(set(command.RUN.glob("pictures-*"))) == 2 * len(before)


def test_resumed_run_ends_in_the_same_bits(few, monkeypatch):
    whole = fitted(SHORT, few)[0]
    for path in command.RUN.glob("student-*"):
        path.unlink()
    save = Run.save
    stop_after(monkeypatch, epochs=2)
    trainer = Trainer(SHORT, *few, "cpu")
    trainer.fit([1])
    assert trainer.stopped.is_set()
    monkeypatch.setattr(Run, "save", save)
    resumed, (history,) = Trainer(SHORT, *few, "cpu", resume=True).fit([1])
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]
    assert same(whole, resumed[0])


def test_a_resumed_run_takes_no_stage_of_another_plan(few):
    """The fine-tuning of a shorter run has the same recipe and seed, and other nets before it."""
    longer = replace(WHOLE, student=replace(WHOLE.student, epochs=3))
    whole = fitted(longer, few)[0]
    for path in command.RUN.glob("*.checkpoint"):
        path.unlink()
    fitted(WHOLE, few)
    assert same(fitted(longer, few, resume=True)[0], whole)


def test_another_fine_tuning_goes_on_from_the_same_distilled_nets(few):
    other = replace(WHOLE, finish=replace(WHOLE.finish, learning_rate=2e-3))
    fitted(WHOLE, few)
    distilled = {path: path.stat().st_mtime_ns for path in command.RUN.glob("student-*")}
    resumed = fitted(other, few, resume=True)[0]
    assert {path: path.stat().st_mtime_ns for path in command.RUN.glob("student-*")} == distilled
    for path in command.RUN.glob("*.checkpoint"):
        path.unlink()
    assert same(resumed, fitted(other, few)[0])


def test_fewer_pictures_than_a_batch_are_no_training_set(few):
    train, validation = few
    with pytest.raises(ValueError, match="200 training pictures are less than a batch of"):
        fitted(SHORT, (train[:200], validation))


def test_ctrl_c_while_the_teachers_answer_leaves_nothing_behind(few, monkeypatch):
    def interrupted(pictures):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "pixels_of", interrupted)
    trainer = Trainer(WHOLE, *few, "cpu")
    _, histories = trainer.fit([1])
    assert trainer.stopped.is_set()
    assert histories == [[]]
    assert not list(command.RUN.glob("logits-*"))


def stop_after(monkeypatch, epochs: int) -> None:
    save = Run.save

    def save_then_stop(run, path):
        save(run, path)
        if run.epoch == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "save", save_then_stop)


def test_a_checkpoint_of_another_recipe_is_refused(few, tmp_path):
    train, validation = few
    data = Renderings(train.pictures[None], train.labels)
    recipe = replace(QUICK.student, epochs=1)
    run = Run([LeNet()], recipe, [1], data)
    run.fit(validation, lambda run: None, tmp_path / "c")
    with pytest.raises(ValueError, match="another recipe"):
        Run([LeNet()], replace(recipe, learning_rate=1e-3), [1], data).load(tmp_path / "c")


def test_ctrl_c_keeps_the_weights_so_far(tmp_path):
    seed, out = os.getpid(), tmp_path / "weights.pt"
    line = [sys.executable, "-m", "train", "fit", "--quick", "--epochs", "10", "--seeds", str(seed), "--out", str(out)]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  (a test run in the background ignores it)
    run = subprocess.Popen(line, cwd=REPOSITORY, preexec_fn=heed, **pipes)
    left = set()
    try:
        deadline = time.monotonic() + 240
        while not left and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
            left = set((REPOSITORY / "run" / "train").glob(f"student-{seed}-*.checkpoint"))
        run.send_signal(signal.SIGINT)
        stdout, stderr = run.communicate(timeout=240)
    finally:
        run.kill()
        for path in left:
            path.unlink()
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
    assert run.stderr.startswith("error: ")
    assert "is missing; delete" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_cuda_device_is_one_plain_line():
    line = [sys.executable, "-m", "train", "fit", "--quick", "--device", "cuda"]
    run = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (1, "error: this torch sees no CUDA device: use --device cpu\n")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_cuda_learns_what_the_cpu_learns(few):
    _, histories = Trainer(WHOLE, *few, "cuda").fit([1, 2])
    _, expected = Trainer(WHOLE, *few, "cpu").fit([1])
    assert histories[0][-1]["validation_loss"] == pytest.approx(expected[0][-1]["validation_loss"], rel=0.3)


def test_temperature_is_found_and_folded_in(few):
    net = fitted(SHORT, few)[0]
    validation = few[1]
    with torch.no_grad():
        net.classifier[-1].weight *= 1.5
        net.classifier[-1].bias *= 1.5
    before = logits_of(net, validation.pictures)
    temperature = fold_temperature(net, validation)
    after = logits_of(net, validation.pictures)
    assert temperature != 1
    assert torch.allclose(after * temperature, before, atol=1e-4)
    assert cross_entropy(after, validation.labels) < cross_entropy(before, validation.labels)
    assert temperature_of(after, validation.labels) == pytest.approx(1, abs=0.01)


def test_alpha_pulls_the_student_towards_its_teachers(few):
    train, validation = few
    confused = torch.roll(torch.eye(10), 1, 1)[train.labels][None] * 9  # teachers that are wrong by one, surely

    def agreement(alpha: float) -> float:
        recipe = replace(QUICK.student, epochs=2, renderings=1, temperature=1.0, alpha=alpha)
        run = Run([command.seeded(LeNet, 1)], recipe, [1], Renderings(train.pictures[None], train.labels, confused))
        run.fit(validation, lambda run: None)
        predicted = logits_of(run.nets()[0], validation.pictures).argmax(1)
        return (predicted == (validation.labels + 1) % 10).double().mean().item()

    assert agreement(1.0) > 0.8
    assert agreement(0.0) < 0.1


def test_learning_rate_warms_up_then_falls_to_zero():
    recipe: Recipe = replace(QUICK.student, learning_rate=1.0, warm_up=0.1)
    assert recipe.rate_at(0.05) == pytest.approx(0.5)
    assert recipe.rate_at(0.1) == pytest.approx(1.0)
    assert recipe.rate_at(0.55) == pytest.approx(0.5)
    assert recipe.rate_at(0.9999) < 1e-6
