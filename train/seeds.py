"""The seeds named in the recipe -> train/weights/seeds/N.pt -> the one with the lowest validation loss is served."""

import argparse
import json
import shutil
from pathlib import Path

from train import fit, mnist
from train.recipe import SEEDS

FOLDER = fit.WEIGHTS.parent / "seeds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=mnist.ROOT, help="where MNIST lies or shall lie; default: data/")
    parser.add_argument("--again", action="store_true", help="train those anew whose weights are there already")


def run(args: argparse.Namespace) -> int:
    for seed in SEEDS:
        out = FOLDER / f"{seed}.pt"
        if args.again or not out.exists():
            stopped = fit.run(
                argparse.Namespace(seed=seed, out=out, data=args.data, quick=False, epochs=None, resume=True)
            )
            if stopped:
                return stopped
    best = min((FOLDER / f"{seed}.pt" for seed in SEEDS), key=lambda path: record_of(path)["validation_loss"])
    for suffix in (".pt", ".json"):
        shutil.copyfile(best.with_suffix(suffix), fit.WEIGHTS.with_suffix(suffix))
    print(f"seed {best.stem} has the lowest validation loss: {fit.WEIGHTS}")
    return 0


def record_of(weights: Path) -> dict:
    """What `fit` wrote beside the weights."""
    return json.loads(weights.with_suffix(".json").read_text())
