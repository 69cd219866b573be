"""Pictures unlike MNIST's through the code that serves -> one table, one figure, docs/robustness.json.

pictures -> encoded files -> reader.read -> vote.settle with the packed forward pass -> verdict.judge
-> share right, or share flagged.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import groupby, islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

import forward
import verdict
import vote
from reader import Reading, read
from train import mnist, onnx_graph, tables
from train.evaluate import hardware
from train.own_model import ROOT, WEIGHTS
from train.pack import PackError, load_weights
from train.research import strips, uploads
from train.research.rows import N_QUICK, SEEN_GROUP, UNSEEN_GROUP, WRONGLY, Row, rows_of

SEED = 0
BATCH = 100
EXAMPLES = 8
MUST_UNSEEN = 0.9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", type=Path, default=WEIGHTS, metavar="FILE", help="state dict to measure")
    parser.add_argument("--quick", action="store_true", help=f"{N_QUICK} pictures a row, to see that it works")
    parser.add_argument("--output", type=Path, metavar="FOLDER",
                        help="of robustness.json, figures/ and pictures.md with its table "
                        "(default: docs, with --quick run/robustness)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    args.output = args.output or (ROOT / "run/robustness" if args.quick else ROOT / "docs")
    try:
        rows, serve = rows_of(args.quick), Served(args.weights)
    except (FileNotFoundError, mnist.DataError, PackError) as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 1
    with tqdm(total=sum(len(row.pictures) for row in rows), unit="picture", dynamic_ncols=True) as bar:
        for row in rows:
            bar.set_description(row.name)
            measure(row, serve, bar.update)
    for row in rows[1:]:
        if row.within is not None:  # the first row is MNIST as it is
            row.must = float(rows[0].hits[: len(row.hits)].mean()) - row.within
    write(rows, args)
    for line in lines(rows):
        if line.holds is False:
            print(f"short: {line.group}: {line.name}: {line.value:.2%} instead of {line.must:.2%}")
    return 0


class Served:
    """The way of a batch of images through the handler: read, forward, judge."""

    def __init__(self, weights: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            graph = Path(folder, "lenet.onnx")
            graph.write_bytes(onnx_graph.build(load_weights(weights)))
            self._forward = forward.on_cpu(graph)
        self._limits = verdict.load()

    def __call__(self, images: list[bytes]) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Pictures seen, classes predicted, verdicts. Raises the error of an image that cannot be read."""
        pictures, outcomes = read(images)
        pictures, outcomes, logits = vote.settle(pictures, outcomes, self._forward, self._limits)
        readings = [outcome for outcome in outcomes if isinstance(outcome, Reading)]
        if len(readings) < len(images):
            raise next(outcome for outcome in outcomes if not isinstance(outcome, Reading))
        judgements = verdict.judge(logits, pictures, readings, self._limits)
        return pictures, logits.argmax(axis=1), [judgement.verdict for judgement in judgements]


def measure(row: Row, serve: Served, progress: Callable[[int], object]) -> None:
    """Fill in the row's hits and examples."""
    hits: list[bool] = []
    for batch in _batches(row.make(row.pictures, np.random.default_rng(SEED))):
        seen, classes, verdicts = serve(batch)
        if row.labels is None:
            hits += [verdict != "digit" for verdict in verdicts]
        else:
            hits += (classes == row.labels[len(hits) : len(hits) + len(batch)]).tolist()
        row.examples += list(zip(batch, seen, strict=True))[: EXAMPLES - len(row.examples)]
        progress(len(batch))
    row.hits = np.array(hits)


def _batches(images: Iterator[bytes]) -> Iterator[list[bytes]]:
    return iter(lambda: list(islice(images, BATCH)), [])


def lines(rows: list[Row]) -> Iterator[Row]:
    """The rows, and after each group of corruptions its mean, as a row without examples."""
    for group, found in groupby(rows, key=lambda row: row.group):
        of_group = list(found)
        yield from of_group
        if group in (SEEN_GROUP, UNSEEN_GROUP):
            must = MUST_UNSEEN if group == UNSEEN_GROUP else None
            yield Row(
                group, "mean", uploads.plain, np.empty(0), must=must, hits=np.concatenate([r.hits for r in of_group])
            )


def write(rows: list[Row], args: argparse.Namespace) -> None:
    """robustness.json, the figure, and the table between its markers in pictures.md."""
    (args.output / "figures").mkdir(parents=True, exist_ok=True)
    measured = {
        "command": "python -m train robustness" + (" --quick" if args.quick else ""),
        "seed": SEED,
        "hardware": hardware(),
        "weights_sha256": hashlib.sha256(args.weights.read_bytes()).hexdigest(),
        "rows": [
            {
                "group": line.group,
                "name": line.name,
                "drawn": line.drawn,
                "n": line.hits.size,
                "value": line.value,
                "must": line.must,
            }
            for line in lines(rows)
        ],
    }
    (args.output / "robustness.json").write_text(json.dumps(measured, indent=1, ensure_ascii=False) + "\n")
    strips.draw(rows, args.output / "figures" / "robustness.png")
    tables.fill(args.output / "pictures.md", "robustness", markdown(measured["rows"]))


def markdown(measured: list[dict]) -> str:
    head = ["pictures", "n", "right (or flagged)", "must"]
    body, group = [], None
    for line in measured:
        if line["group"] != group:
            group = line["group"]
            body.append([f"**{group}**", "", "", ""])
        must = "" if line["must"] is None else f"{'≤' if group == WRONGLY else '≥'} {line['must']:.2%}"
        name = f"{line['name']}: {line['drawn']}" if line["drawn"] else line["name"]
        body.append([name, f"{line['n']:,}", f"{line['value']:.2%}", must])
    return tables.table(head, body)
