"""Metrics -> Markdown tables -> marked sections of README.md and docs/: `<!-- name -->` ... `<!-- /name -->`."""

import re
from collections.abc import Iterator
from pathlib import Path

from train.recipe import SEEDS


def sections(metrics: dict, repository: Path) -> Iterator[tuple[Path, str, str]]:
    """Each file, section and text that the metrics fill."""
    yield repository / "README.md", "metrics", splits(metrics)
    yield repository / "docs" / "training.md", "seeds", seeds(metrics)
    yield repository / "docs" / "model-card.md", "metrics", summary(metrics)
    yield repository / "docs" / "model-card.md", "classes", classes(metrics)


def fill(path: Path, section: str, text: str) -> None:
    """Replace what lies between the section's markers; a file without them is left alone, with a word about it."""
    document = path.read_text() if path.exists() else ""
    filled, count = _between(section).subn(lambda match: match[1] + text + match[3], document)
    if count:
        path.write_text(filled)
    else:
        print(f"{path}: no section <!-- {section} -->, so its table was not written")


def read(path: Path, section: str) -> str:
    """What lies between the section's markers. Raises ValueError when they are missing."""
    if not (match := _between(section).search(path.read_text())):
        raise ValueError(f"{path} has no section <!-- {section} -->")
    return match[2]


def _between(section: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {section} -->\n)(.*?)(<!-- /{section} -->)", re.DOTALL)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def splits(metrics: dict) -> str:
    """Accuracy and loss as the README shows them."""
    names = ("train", "validation", "test")
    columns = [metrics["splits"][name] for name in names]
    return table(
        ["", *(f"{name} ({column['n']:,})" for name, column in zip(names, columns, strict=True))],
        [
            ["Accuracy", *(f"{column['accuracy']:.2%}" for column in columns)],
            ["Loss (cross-entropy)", *(f"{column['loss']:.4f}" for column in columns)],
        ],
    )


def summary(metrics: dict) -> str:
    test, low_high = metrics["splits"]["test"], metrics["test"]["interval"]
    return splits(metrics) + (
        f"\nTest accuracy {test['accuracy']:.2%}, 95 % confidence interval {low_high[0]:.2%} to {low_high[1]:.2%} "
        f"(Wilson, n = {test['n']:,}); {len(metrics['test']['mistakes'])} mistakes; "
        f"expected calibration error {metrics['test']['calibration_error']:.2%} (15 bins).\n"
    )


def classes(metrics: dict) -> str:
    rows = metrics["test"]["classes"]
    return table(
        ["Class", "n", "Precision", "Recall", "F1"],
        [[r["class_name"], str(r["n"]), *(f"{r[key]:.2%}" for key in ("precision", "recall", "f1"))] for r in rows],
    )


def seeds(metrics: dict) -> str:
    """One row a seed, then mean and standard deviation."""
    runs = metrics["seeds"]["runs"]
    formats = {
        "validation_accuracy": "{:.2%}",
        "validation_loss": "{:.4f}",
        "test_accuracy": "{:.2%}",
        "test_loss": "{:.4f}",
        "test_calibration_error": "{:.2%}",
    }
    rows = [
        [f"{run['seed']}{' (served)' if run['sha256'] == metrics['sha256'] else ''}"]
        + [form.format(run[key]) for key, form in formats.items()]
        for run in runs
    ]
    if len(runs) == len(SEEDS):
        spread = [metrics["seeds"][key] for key in formats]
        rows += [[name, *(f.format(s[key]) for f, s in zip(formats.values(), spread, strict=True))]
                 for name, key in (("mean", "mean"), ("standard deviation", "sd"))]  # fmt: skip
    return table(["Seed", "Validation accuracy", "Validation loss", "Test accuracy", "Test loss", "Test ECE"], rows)
