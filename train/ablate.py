"""The recipe, one step at a time: short runs -> docs/ablation.jsonl, a line each -> the table in docs/training.md

All is measured on validation; the test set is not looked at. A stopped ablation goes on where it was.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import torch

from lenet import LeNet
from train import mnist, tables
from train.augment import PLAIN, augment
from train.fit import fit
from train.measure import accuracy, cross_entropy, logits_of, temperature_of
from train.mnist import Digits
from train.recipe import FULL
from train.teacher import teachers

DOCS = Path(__file__).parent.parent / "docs"
RESULTS = DOCS / "ablation.jsonl"
EPOCHS, DIGITS, RUNS = 10, 27_500, [1, 2, 3]  # half the digits: half the time
HARD_SEED = 0  # of the distorted validation digits

_whole = FULL.distortion
_affine = replace(_whole, elastic=0, thicken=0, thin=0, soften=0, noise=0, stray=0)
_bare = replace(FULL, distortion=PLAIN, averaging=0, teachers=0)
STEPS = {
    "baseline: AdamW, one cycle": _bare,
    "+ averaged weights": replace(_bare, averaging=FULL.averaging),
    "+ affine distortion": replace(FULL, teachers=0, distortion=_affine),
    "+ elastic distortion": replace(FULL, teachers=0, distortion=replace(_affine, elastic=_whole.elastic)),
    "+ stroke width, blur, noise, stray strokes": replace(FULL, teachers=0),
    "+ teacher": FULL,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of each run; default: %(default)s")
    parser.add_argument("--digits", type=int, default=DIGITS, help="training digits of each run; default: %(default)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=RUNS, help="one run of each row; default: %(default)s")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON lines to append to; default: docs/")
    parser.add_argument("--data", type=Path, default=mnist.ROOT, help="where MNIST lies or shall lie; default: data/")


def run(args: argparse.Namespace) -> int:
    try:
        whole, validation, _ = mnist.load(args.data)
    except mnist.DataError as error:
        print(f"error: {error}")
        return 1
    train, hard = whole[: args.digits], distorted(validation)
    for seed in args.seeds:
        for step, recipe in STEPS.items():
            recipe = replace(recipe, epochs=args.epochs, seed=seed, fresh=0)
            wanted = {"step": step, "digits": len(train), "recipe": json.loads(json.dumps(recipe.as_dict()))}
            if any(line.items() >= wanted.items() for line in read(args.results)):
                continue
            print(f"{step}, seed {seed}")
            fitted = fit(LeNet, recipe, train, validation, teach=teachers(recipe, whole, validation))
            if fitted.interrupted:
                return 130
            with args.results.open("a") as file:
                file.write(json.dumps(wanted | measure(fitted.net, validation, hard)) + "\n")
    text = table(read(args.results), args.epochs, args.digits)
    tables.fill(DOCS / "training.md", "ablation", text)
    print(text)
    return 0


def distorted(validation: Digits) -> Digits:
    """Validation digits as other hands and cameras would have given them, the same ones for every run."""
    generator = torch.Generator().manual_seed(HARD_SEED)
    strong = replace(_whole, thicken=0.3, thin=0.3, soften=0.3, noise=0.3, stray=0)
    return Digits(augment(validation.pictures, strong, generator), validation.labels)


def measure(net: LeNet, validation: Digits, hard: Digits) -> dict[str, float]:
    logits, on_hard = logits_of(net, validation.pictures), logits_of(net, hard.pictures)
    temperature = temperature_of(logits, validation.labels)
    return {
        "validation_accuracy": accuracy(logits, validation.labels),
        "validation_loss": cross_entropy(logits, validation.labels),
        "validation_loss_at_temperature": cross_entropy(logits / temperature, validation.labels),
        "temperature": temperature,
        "distorted_accuracy": accuracy(on_hard, hard.labels),
    }


def read(results: Path) -> list[dict]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def table(lines: list[dict], epochs: int = EPOCHS, digits: int = DIGITS) -> str:
    """A row for each step: mean and standard deviation over its seeds."""
    rows = []
    for step in STEPS:
        runs = [line for line in lines if line["step"] == step and line["digits"] == digits]
        runs = [line for line in runs if line["recipe"]["epochs"] == epochs]
        if len(runs) > 1:
            rows.append([step, str(len(runs)), *_columns(runs)])
    head = ["Step", "Seeds", "Validation accuracy (%)", "Validation loss", "… temperature folded in", "Distorted (%)"]
    return tables.table(head, rows)


def _columns(runs: list[dict]) -> list[str]:
    def spread(key: str, form: str, times: float = 1) -> str:
        values = [run[key] * times for run in runs]
        return f"{mean(values):{form}} ± {stdev(values):{form}}"

    return [
        spread("validation_accuracy", ".2f", 100),
        spread("validation_loss", ".4f"),
        spread("validation_loss_at_temperature", ".4f"),
        spread("distorted_accuracy", ".2f", 100),
    ]
