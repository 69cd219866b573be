"""`python -m bench.sides`: should a digit smaller than MNIST's pass as it is, or be enlarged? Fills docs/pictures.md.

MNIST's test digits, reduced, their mass centred in 28x28 -> as they are and enlarged -> share right, flagged.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "handler"))

import cv2
import numpy as np
import torch

import verdict
from canonical import CENTRE, read_from
from digit import SIDE
from lenet import LeNet
from reader import Origin, Reading
from train import mnist, tables
from train.measure import logits_of
from train.own_model import WEIGHTS

DOCUMENT = Path(__file__).parent.parent / "docs" / "pictures.md"
SIDES = (20, 19, 18, 17, 16, 14, 12, 10)  # pixels, the digit's longer side
N = 5000  # test digits


def main() -> int:
    test = mnist.load()[2]
    pictures, labels = test.pictures.numpy()[:N], test.labels.numpy()[:N]
    net = LeNet()
    net.load_state_dict(torch.load(WEIGHTS, map_location="cpu", weights_only=True))
    rows = []
    for side in SIDES:
        sent = np.stack([reduced_to(side, picture) for picture in pictures])
        read = [read_from(picture) for picture in sent]
        enlarged = np.stack([canonical.picture for canonical in read])
        as_sent, as_read = (
            [Reading()] * N,
            [Reading(canonical.warnings, canonical.coarse, origin=Origin.READ) for canonical in read],
        )
        rows.append([str(side), *shares(net, sent, as_sent, labels), *shares(net, enlarged, as_read, labels)])
    head = ["side", "as it is: right", "flagged", "enlarged: right", "flagged"]
    tables.fill(DOCUMENT, "sides", tables.table(head, rows))
    print(tables.read(DOCUMENT, "sides"))
    return 0


def reduced_to(side: int, picture: np.ndarray) -> np.ndarray:
    """The digit alone, its longer side `side`, centre of mass in the middle of 28x28."""
    left, top, width, height = cv2.boundingRect(picture)
    share = side / max(width, height)
    size = max(round(width * share), 1), max(round(height * share), 1)
    small = cv2.resize(picture[top : top + height, left : left + width], size, interpolation=cv2.INTER_AREA)
    placed = np.pad(small, ((0, SIDE - size[1]), (0, SIDE - size[0])))
    down, across = (int(np.rint(CENTRE - np.average(axis, weights=placed))) for axis in np.indices(placed.shape))
    return np.roll(placed, (down, across), axis=(0, 1))


def shares(net: LeNet, pictures: np.ndarray, readings: list[Reading], labels: np.ndarray) -> tuple[str, str]:
    logits = logits_of(net, torch.from_numpy(pictures)).numpy()
    judgements = verdict.judge(logits, pictures, readings, verdict.load())
    flagged = np.mean([judgement.verdict != "digit" for judgement in judgements])
    return f"{(logits.argmax(axis=1) == labels).mean():.2%}", f"{flagged:.2%}"


if __name__ == "__main__":
    sys.exit(main())
