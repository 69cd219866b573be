"""Which batcher an image goes to, and that no worker idles while images wait."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from PIL import Image

from tests.bad_images import encoded, huge
from tests.load import SAMPLES
from tests.stack import wait_until

CLIENTS, ROUNDS = 64, 6


def photo(path) -> bytes:
    """A sample digit as a camera gives it: 640x480, JPEG, some 16 KB."""
    digit = Image.open(path).convert("L").resize((400, 400), Image.Resampling.BICUBIC)
    paper = Image.effect_noise((640, 480), 18).point(lambda value: 235 - value // 8)
    paper.paste(Image.new("L", digit.size, 30), (120, 40), digit)
    return encoded(paper, "JPEG", quality=88)


def counts(stack) -> dict[str, float]:
    """Images sent to TorchServe so far, by size class."""
    text = stack.get("/metrics")[2].decode()
    return {
        name: float(value)
        for name, value in re.findall(r'^mnist_batch_images_sum\{size_class="(\w+)"\} (\S+)$', text, re.MULTILINE)
    }


def sent_since(stack, before: dict[str, float]) -> dict[str, float]:
    return {name: value - before[name] for name, value in counts(stack).items() if value != before[name]}


def post(stack, image: bytes) -> requests.Response:
    return requests.post(f"http://127.0.0.1:{stack.port}/api/mnist", files={"image": image}, timeout=60)


def test_photos_keep_every_worker_busy_and_are_sent_once(stack):
    photos = [photo(path) for path in SAMPLES]
    assert all(8_000 < len(one) < 32_000 for one in photos)
    workers = stack.workers("mnist_large")
    assert len(workers) >= 2
    before, spent = counts(stack), [sum(worker.cpu_times()[:2]) for worker in workers]
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda number: post(stack, photos[number % 10]), range(CLIENTS * ROUNDS)))
    assert {answer.status_code for answer in answers} == {200}
    assert sent_since(stack, before) == {"large": CLIENTS * ROUNDS}
    used = [sum(worker.cpu_times()[:2]) - was for worker, was in zip(workers, spent, strict=True)]
    assert min(used) > 0.25 * max(used), used


def test_workers_take_photos_at_the_same_time(stack):
    image, most = photo(SAMPLES[7]), 0.0
    workers = len(stack.workers("mnist_large"))

    def in_flight() -> float:
        text = stack.get("/metrics")[2].decode()
        return float(re.search(r'^mnist_batches_in_flight\{size_class="large"\} (\S+)$', text, re.MULTILINE)[1])

    with ThreadPoolExecutor(CLIENTS) as pool:
        asked = [pool.submit(post, stack, image) for _ in range(CLIENTS * ROUNDS)]
        while not all(each.done() for each in asked):
            most = max(most, in_flight())
    assert most >= workers


@pytest.mark.parametrize("name", ["1-bit PNG", "grey JPEG", "lossless WebP", "GIF", "TIFF, deflated"])
def test_a_huge_image_is_isolated_and_sent_once(stack, name):
    before = counts(stack)
    assert post(stack, huge()[name]).status_code == 200
    assert sent_since(stack, before) == {"isolated": 1}


def test_a_drawing_and_a_photo_share_no_queue(stack):
    before = counts(stack)
    assert post(stack, SAMPLES[7].read_bytes()).status_code == 200
    assert sent_since(stack, before) == {"small": 1}
    before = counts(stack)
    assert post(stack, photo(SAMPLES[7])).status_code == 200
    assert sent_since(stack, before) == {"large": 1}


def test_one_request_with_a_huge_image_isolates_that_one_alone(stack):
    before, form = counts(stack), [("image", SAMPLES[7].read_bytes())] * 3 + [("image", huge()["1-bit PNG"])]
    answer = requests.post(f"http://127.0.0.1:{stack.port}/api/mnist/batch", files=form, timeout=60)
    assert [each["success"] for each in answer.json()["results"]] == [True] * 4
    wait_until(lambda: sum(sent_since(stack, before).values()) == 4, 5, "the counts")
    assert sent_since(stack, before)["isolated"] == 1
