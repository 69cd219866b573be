"""The plan, one step at a time -> docs/ablation.jsonl, a line for each step and seed -> the table in docs/training.md.

All is measured on validation; the test set is not looked at. A stopped ablation goes on with the step it was at.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import torch

from lenet import LeNet
from train import mnist, tables
from train.augment import PLAIN, augment
from train.fit import Trainer, device_name, device_of
from train.measure import accuracy, cross_entropy, logits_of, temperature_of
from train.mnist import Digits
from train.own_model import ROOT
from train.recipe import FULL, SEEDS, Plan

DOCS = ROOT / "docs"
RESULTS = DOCS / "ablation.jsonl"
HARD_SEED = 0  # of the distorted validation digits

_student = FULL.student
_whole = _student.distortion
_affine = replace(_whole, elastic=0, thicken=0, thin=0, soften=0, noise=0, stray=0)


def _alone(**changes: object) -> Plan:
    return Plan(replace(_student, alpha=0.0, **changes))


STEPS = {
    "baseline: AdamW, one cycle": _alone(distortion=PLAIN, renderings=1, ema=0.0),
    "+ averaged weights": _alone(distortion=PLAIN, renderings=1),
    "+ affine distortion": _alone(distortion=_affine),
    "+ elastic distortion": _alone(distortion=replace(_affine, elastic=_whole.elastic)),
    "+ stroke width, blur, noise, stray strokes": _alone(),
    "+ two teachers": replace(FULL, finish=None),
    "+ fine-tuning, with habits of other writers: the whole plan": FULL,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=int, default=_student.epochs, help="of LeNet; default: the plan's %(default)s")
    parser.add_argument("--digits", type=int, help="training digits; default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="of each row; default: %(default)s")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: CUDA if there is any")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON lines to append to; default: docs/")
    parser.add_argument("--data", type=Path, default=mnist.ROOT, help="where MNIST lies or shall lie; default: data/")


def run(args: argparse.Namespace) -> int:
    try:
        train, validation, _ = mnist.load(args.data)
        device = device_of(args.device)
    except (mnist.DataError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    train, hard = train[: args.digits], distorted(validation)
    for step, plan in STEPS.items():
        plan = replace(plan, student=replace(plan.student, epochs=args.epochs))
        setup = {"step": step, "digits": len(train), "plan": json.loads(json.dumps(plan.as_dict()))}
        done = [line["seed"] for line in read(args.results) if line.items() >= setup.items()]
        if not (seeds := [seed for seed in args.seeds if seed not in done]):
            continue
        print(f"{step}: seeds {', '.join(map(str, seeds))}")
        trainer = Trainer(plan, train, validation, device)
        nets, _ = trainer.fit(seeds)
        if trainer.stopped.is_set():
            return 130
        with args.results.open("a") as file:
            for seed, net in zip(seeds, nets, strict=True):
                line = setup | {"seed": seed, "device": device_name(device)} | measure(net, validation, hard)
                file.write(json.dumps(line) + "\n")
    text = table(read(args.results), args.epochs, len(train))
    if args.results == RESULTS:
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


def table(lines: list[dict], epochs: int = _student.epochs, digits: int = 55_000) -> str:
    """A row for each step: mean and standard deviation over its seeds."""
    rows = []
    for step in STEPS:
        runs = [line for line in lines if line["step"] == step and line["digits"] == digits]
        runs = [line for line in runs if line["plan"]["student"]["epochs"] == epochs]
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
