"""Committed weights -> metrics.json -> the tables in README.md and docs/ and the figures in docs/figures/.

Nothing is chosen here.
"""

import argparse
import hashlib
import json
import os
import platform
from pathlib import Path
from statistics import mean, stdev

import matplotlib
import numpy
import sklearn
import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import Tensor

from digit import CLASS_NAMES, MODEL_FILE
from lenet import LeNet
from train import mnist, own_model, tables
from train.fit import record_of
from train.measure import accuracy, calibration, calibration_error, cross_entropy, logits_of
from train.mnist import Digits
from train.own_model import ROOT, WEIGHTS
from train.research import figures

METRICS = ROOT / "metrics.json"
FIGURES = ROOT / "docs" / "figures"
COMMAND = "python -m train evaluate"
FOLDER = WEIGHTS.parent / "seeds"
FIRST_BATCH = 64  # of validation, whose confusion matrix the original shows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", type=Path, help="default: the served ones")
    parser.add_argument("--data", type=Path, default=mnist.ROOT, help="where MNIST lies or shall lie; default: data/")
    parser.add_argument("--print", action="store_true", help="print the metrics and write nothing")


def run(args: argparse.Namespace) -> int:
    try:
        weights = args.weights or own_model.weights_of(args.model)
        splits = dict(zip(("train", "validation", "test"), own_model.splits(args.model, args.data), strict=True))
        logits = {name: logits_of(load(weights), digits.pictures) for name, digits in splits.items()}
    except (mnist.DataError, OSError) as error:
        print(f"error: {error}")
        return 1
    metrics = measure(weights, splits, logits)
    if args.print:
        print(json.dumps(metrics, indent=1))
        return 0
    own = args.model != own_model.MNIST
    folder = args.model / "figures" if own else FIGURES
    folder.mkdir(parents=True, exist_ok=True)
    (folder / METRICS.name if own else METRICS).write_text(json.dumps(metrics, indent=1) + "\n")
    for path, section, text in () if own else tables.sections(metrics, ROOT):
        tables.fill(path, section, text)
    figures.draw(folder, metrics, splits, logits["test"], record_of(weights))
    print(tables.splits(metrics))
    return 0


def load(weights: Path) -> LeNet:
    """LeNet with the weights of the file. Raises OSError when it cannot be read."""
    net = LeNet()
    net.load_state_dict(torch.load(weights, weights_only=True))
    return net.to(memory_format=torch.channels_last).eval()


def measure(weights: Path, splits: dict[str, Digits], logits: dict[str, Tensor]) -> dict:
    """Everything that is published, ready for JSON; probabilities and rates in [0, 1], losses in nats."""
    test, answers = splits["test"], logits["test"]
    return {
        "command": COMMAND,
        "weights": os.path.relpath(weights, ROOT),
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "parameters": sum(p.numel() for p in LeNet().parameters()),
        "seed": record_of(weights)["seed"],
        "split_seed": mnist.SPLIT_SEED,
        "hardware": hardware(),
        "versions": versions(),
        "splits": {name: figures_of(logits[name], digits.labels) for name, digits in splits.items()},
        "test": {
            "interval": list(interval(answers, test.labels)),
            "calibration_error": calibration_error(answers, test.labels),
            "calibration": calibration(answers, test.labels),
            "classes": per_class(answers, test.labels),
            "confusion": confusion(answers, test.labels),
            "mistakes": mistakes(answers, test.labels),
        },
        "first_validation_batch": {
            "size": FIRST_BATCH,
            "confusion": confusion(logits["validation"][:FIRST_BATCH], splits["validation"].labels[:FIRST_BATCH]),
        },
        "seeds": seeds(splits) if MODEL_FILE.parent == own_model.MNIST else {},
    }


def figures_of(logits: Tensor, labels: Tensor) -> dict[str, float]:
    return {"n": len(labels), "accuracy": accuracy(logits, labels), "loss": cross_entropy(logits, labels)}


def interval(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """95 % confidence interval of the accuracy: E. B. Wilson, J. Am. Stat. Assoc. 22, 1927."""
    n, p, z = len(labels), accuracy(logits, labels), 1.959964
    middle, reach = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return (middle - reach) / (1 + z * z / n), (middle + reach) / (1 + z * z / n)


def confusion(logits: Tensor, labels: Tensor) -> list[list[int]]:
    """Counts by true class (rows) and predicted class (columns)."""
    return confusion_matrix(labels, logits.argmax(1), labels=range(len(CLASS_NAMES))).tolist()


def per_class(logits: Tensor, labels: Tensor) -> list[dict]:
    columns = precision_recall_fscore_support(labels, logits.argmax(1), labels=range(len(CLASS_NAMES)), zero_division=0)
    return [
        {"class_name": name, "precision": float(p), "recall": float(r), "f1": float(f), "n": int(n)}
        for name, p, r, f, n in zip(CLASS_NAMES, *columns, strict=True)
    ]


def mistakes(logits: Tensor, labels: Tensor) -> list[dict]:
    """The wrongly classified, the surest mistake first."""
    probabilities, predicted = logits.double().softmax(1).max(1)
    wrong = (predicted != labels).nonzero()[:, 0]
    wrong = wrong[probabilities[wrong].argsort(descending=True)]
    columns = {"true": labels, "predicted": predicted, "probability": probabilities}
    return [{"index": i} | {name: column[i].item() for name, column in columns.items()} for i in wrong.tolist()]


def seeds(splits: dict[str, Digits]) -> dict:
    """Validation and test of each of the seeds named in the recipe whose weights are there, and their mean and sd."""
    rows = []
    for path in sorted(FOLDER.glob("*.pt")):
        net = load(path)
        row: dict = {"seed": int(path.stem), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for name in ("validation", "test"):
            logits, labels = logits_of(net, splits[name].pictures), splits[name].labels
            row[f"{name}_accuracy"], row[f"{name}_loss"] = accuracy(logits, labels), cross_entropy(logits, labels)
        row["test_calibration_error"] = calibration_error(logits, splits["test"].labels)
        rows.append(row)
    keys = [key for key in rows[0] if key not in ("seed", "sha256")] if len(rows) > 1 else []
    spread = {key: {"mean": mean(r[key] for r in rows), "sd": stdev(r[key] for r in rows)} for key in keys}
    return {"runs": rows, **spread}


def versions() -> dict[str, str]:
    modules = {"torch": torch, "numpy": numpy, "scikit-learn": sklearn, "matplotlib": matplotlib}
    return {"python": platform.python_version()} | {name: module.__version__ for name, module in modules.items()}


def hardware() -> str:
    """Cores and kind of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} cores of {names[0] if names else platform.processor() or 'an unknown processor'}"
