"""Test pictures -> PNG files -> a running service -> how many of them it answers right.

What `evaluate` measures of the net alone, here with all that lies between an upload and its answer.
"""

import argparse
import os
import sys
from pathlib import Path

import cv2
import requests
from torch import Tensor

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
        names = [name for part in test.pictures.split(TOGETHER) for name in answers(args.url, part)]
    except (mnist.DataError, requests.RequestException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    right = sum(name == CLASS_NAMES[label] for name, label in zip(names, test.labels.tolist(), strict=True))
    print(f"{right:,} of {len(names):,} test pictures are answered right: {right / len(names):.2%}")
    return 0


def answers(url: str, pictures: Tensor) -> list[str]:
    """The class that the service names for each picture, uint8 [n, SIDE, SIDE]. Raises requests.RequestException."""
    files = [("image", ("picture.png", cv2.imencode(".png", picture)[1].tobytes())) for picture in pictures.numpy()]
    key = {"X-API-Key": os.environ["MNIST_KEY"]} if "MNIST_KEY" in os.environ else {}
    response = requests.post(f"{url}/api/mnist/batch", files=files, headers=key, timeout=60)
    response.raise_for_status()
    return [result["predictions"]["prediction"]["class_name"] for result in response.json()["results"]]
