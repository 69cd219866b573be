"""Test pictures -> PNG files -> a running service -> how many of them it answers right.

What `evaluate` measures of the net alone, here with all that lies between an upload and its answer.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from torch import Tensor

from client.service import Service, ServiceFailure
from digit import CLASS_NAMES
from train import mnist, own_model

URL = "http://127.0.0.1:3001"
TOGETHER = 64  # images in one request


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default=URL, help="the service; default: %(default)s")
    parser.add_argument("--data", type=Path, default=mnist.ROOT, help="where MNIST lies or shall lie; default: data/")


def run(args: argparse.Namespace) -> int:
    try:
        _, _, test = own_model.splits(args.model, args.data)
        names = list(answers(args.url, test.pictures))
    except (mnist.DataError, ServiceFailure) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    right = sum(name == CLASS_NAMES[label] for name, label in zip(names, test.labels.tolist(), strict=True))
    print(f"{right:,} of {len(names):,} test pictures are answered right: {right / len(names):.2%}")
    return 0


class Picture(NamedTuple):
    """What the client sends: a name, and pixels, uint8 [SIDE, SIDE], as a PNG file."""

    name: str
    pixels: np.ndarray

    def bytes(self) -> bytes:
        return cv2.imencode(".png", self.pixels)[1].tobytes()


def answers(url: str, pictures: Tensor) -> Iterator[str | None]:
    """The class that the service names for each picture, uint8 [n, SIDE, SIDE]; None for an error.

    Raises ServiceFailure where it cannot be reached.
    """
    service = Service(url, os.environ.get("MNIST_KEY"))
    files = (Picture("picture.png", picture) for picture in pictures.numpy())
    for outcome in service.read(files, TOGETHER):
        yield outcome.answer and outcome.answer["predictions"]["prediction"]["class_name"]
