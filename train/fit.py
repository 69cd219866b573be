"""MNIST -> teacher -> LeNet -> temperature folded into the last layer -> mnist-classifier.pt and its record, .json

After every epoch the state is kept under run/, so that `--resume` goes on where a run was stopped.
"""

import argparse
import io
import json
import os
import platform
from dataclasses import replace
from pathlib import Path

import torch

from lenet import LeNet
from train import mnist
from train.loop import Fitted, fit
from train.measure import accuracy, cross_entropy, logits_of, temperature_of
from train.mnist import Digits
from train.recipe import FINISH, FULL, QUICK, Recipe
from train.teacher import RUN, rendered, teachers

WEIGHTS = Path(__file__).parent / "weights" / "mnist-classifier.pt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="the recipe of half a minute instead of the full one")
    parser.add_argument("--seed", type=int, default=FULL.seed, help="default: %(default)s, the served weights'")
    parser.add_argument("--epochs", type=int, help="default: the recipe's")
    parser.add_argument("--resume", action="store_true", help="go on with the same run where it was stopped")
    parser.add_argument("--data", type=Path, default=mnist.ROOT, help="where MNIST lies or shall lie; default: data/")
    parser.add_argument("--out", type=Path, help="weights to write; default: the served ones, with --quick run/train/")


def run(args: argparse.Namespace) -> int:
    recipe = replace(QUICK if args.quick else FULL, seed=args.seed)
    recipe = replace(recipe, epochs=args.epochs or recipe.epochs)
    name = f"{'quick' if args.quick else 'full'}-{args.seed}"
    out = args.out or (RUN / f"{name}.pt" if args.quick else WEIGHTS)
    try:
        train, validation, _ = mnist.load(args.data)
    except mnist.DataError as error:
        print(f"error: {error}")
        return 1
    stages = [recipe] if args.quick else [recipe, replace(FINISH, seed=args.seed)]
    try:
        fitted = fit_in_stages(stages, train, validation, RUN / name, args.resume)
    except ValueError as error:
        print(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        fitted = Fitted(LeNet(), interrupted=True)
    if not fitted.history:
        print("stopped before the first epoch of LeNet ended: no weights were written")
        return 130
    temperature = fold_temperature(fitted.net, validation)
    loss = cross_entropy(logits_of(fitted.net, validation.pictures), validation.labels)
    write(out, fitted, {"stages": [s.as_dict() for s in stages], "temperature": temperature, "validation_loss": loss})
    right = accuracy(logits_of(fitted.net, validation.pictures), validation.labels)
    seconds = sum(epoch["seconds"] for epoch in fitted.history)
    print(f"{out}: {len(fitted.history)} epochs in {seconds:.0f} s, validation accuracy {right:.2%}, "
          f"loss {loss:.4f} with temperature {temperature:.3f} folded in")  # fmt: skip
    return 130 if fitted.interrupted else 0


def fit_in_stages(stages: list[Recipe], train: Digits, validation: Digits, checkpoint: Path, resume: bool) -> Fitted:
    """Train by each recipe in turn, each going on with the best weights of the one before; Ctrl-C ends them all."""
    fitted = Fitted(LeNet())
    for number, recipe in enumerate(stages):
        make = (lambda net=fitted.net: net) if number else LeNet
        teach = teachers(recipe, train, validation)
        kept = checkpoint.with_name(f"{checkpoint.name}-{number}.checkpoint")
        stage = fit(make, recipe, train, validation, kept, resume, teach, rendered(recipe))
        before = len(fitted.history)
        history = fitted.history + [epoch | {"epoch": before + epoch["epoch"]} for epoch in stage.history]
        fitted = Fitted(stage.net, history, stage.interrupted)
        if fitted.interrupted:
            break
    return fitted


@torch.no_grad()
def fold_temperature(net: LeNet, validation: Digits) -> float:
    """Learn the temperature on validation and divide the last layer by it; gives the temperature."""
    temperature = temperature_of(logits_of(net, validation.pictures), validation.labels)
    net.classifier[-1].weight /= temperature
    net.classifier[-1].bias /= temperature
    return temperature


def write(out: Path, fitted: Fitted, record: dict) -> None:
    """Write the weights, a plain state dict, and beside them what trained them (the same name, .json)."""
    out.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()  # saved to a file, the bytes would depend on its name
    torch.save({name: value.contiguous() for name, value in fitted.net.state_dict().items()}, content)
    partial = out.with_suffix(".partial")
    partial.write_bytes(content.getvalue())
    os.replace(partial, out)
    record |= {"torch": torch.__version__, "python": platform.python_version(), "history": fitted.history}
    out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
