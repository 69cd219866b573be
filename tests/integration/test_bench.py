"""The benchmark measures what it says: its quick form against the real service."""

import shutil
import struct
import subprocess
import sys

import cv2
import numpy as np
import pytest

from bench import closed_loop, open_loop, servers, summary
from bench.images import FORMATS, PHOTO, encoded, read
from reader import read as read_images
from tests.integration.test_serving import SAMPLES
from train.own_model import ROOT

WRK = """
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     8.39ms    1.61ms  21.38ms   75.56%
  Latency Distribution
     50%  812.00us
     75%    9.18ms
     90%   10.31ms
     99%    1.25s
  Socket errors: connect 1, read 2, write 0, timeout 4
  Non-2xx or 3xx responses: 30
Requests/sec:   7584.90
"""


@pytest.fixture
def pictures(tmp_path):
    file = tmp_path / "pictures.bin"
    file.write_bytes(b"".join(struct.pack("!I", len(sample)) + sample for sample in SAMPLES))
    return file


def test_pictures_come_back_from_their_file(pictures):
    assert read(pictures) == SAMPLES


SHAPES = {"png": (28, 28), "rgb": (28, 28, 3), "jpeg": (28, 28), "200": (200, 200), "canvas": (280, 280, 4)}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_what_it_says_and_shows_the_digit(form):
    digit = cv2.imdecode(np.frombuffer(SAMPLES[7], np.uint8), cv2.IMREAD_GRAYSCALE)
    image = encoded(digit, form, np.random.default_rng(0))
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels.shape == SHAPES.get(form, (*PHOTO, 3))
    (seen,), _ = read_images([image])
    assert np.corrcoef(seen.ravel(), digit.ravel())[0, 1] > 0.9


def test_what_wrk_prints_is_understood():
    assert closed_loop.parse(WRK) == closed_loop.Run(rate=7584.9, p50=0.812, p99=1250.0, failed=37)


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is missing: apt-get install wrk")
@pytest.mark.parametrize("which", [0, 1], ids=["service", "torchserve"])
def test_closed_loop_of_the_service_and_of_torchserve_alone(service, pictures, which):
    run = closed_loop.run(servers.ours(service)[which], 4, 1, pictures)
    assert run.rate > 0
    assert 0 < run.p50 <= run.p99
    assert run.failed == 0


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is missing: apt-get install wrk")
def test_failures_are_counted(service, tmp_path):
    file = tmp_path / "broken.bin"
    file.write_bytes(struct.pack("!I", 3) + b"bad")
    run = closed_loop.run(servers.ours(service)[0], 2, 1, file)
    assert run.failed > 0


@pytest.mark.skipif(not shutil.which("luajit"), reason="luajit is missing: apt-get install luajit")
def test_open_loop_judges_every_answer(service, pictures):
    labels = [*range(9), 0]  # the nine counts as wrong
    found = open_loop.run(servers.ours(service)[0].url, pictures, labels, rate=40, seconds=1)
    assert found["wrong"]["rate"] == 4
    assert found.get("good", {"rate": 0})["rate"] + found.get("late", {"rate": 0})["rate"] == 36


def test_memory_is_counted_by_program(service):
    used = servers.memory(service)
    parts = [used[name] for name in ("supervisor", "TorchServe", "workers", "proxy")]
    assert sum(part["pss"] for part in parts) == pytest.approx(used["all"]["pss"], abs=1)
    assert all(part["rss"] >= part["pss"] > 0 for part in parts)


def test_ratios_are_medians_of_the_rounds_own():
    rounds = [{"64": {"service": {"rate": a}, "mosec": {"rate": b}}} for a, b in ((10, 5), (40, 10), (9, 9))]
    assert summary.ratios(rounds, "64", "mosec") == 2


@pytest.mark.parametrize("program", ["bench", "client", "serve", "tests.faults", "train"])
def test_each_program_tells_how_it_is_used(program):
    told = subprocess.run([sys.executable, "-m", program, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("usage:")
