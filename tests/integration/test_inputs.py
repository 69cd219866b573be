"""Bad input over the real endpoint: each gets its status of the contract, nobody dies of it, nothing grows."""

import asyncio
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import bad_images, bad_requests
from tests.faults.clients import ask_all
from tests.load import at_once, dump
from tests.raw_http import IMAGE, Answer, exchange, multipart, request, upload

PICTURES_FAULT = {200, 400, 413, 422}


@pytest.mark.parametrize("case", bad_requests.every(), ids=lambda case: case.name)
def test_a_bad_request_gets_its_status(stack, case):
    answer = exchange(stack.port, case.sent, half_close=case.half_close)
    assert answer is not None
    assert answer.status == case.status, answer
    if case.code:
        judge(answer, case.code)
    else:
        assert b"Traceback" not in answer.body


def judge(answer: Answer, code: str) -> None:
    """The error body of the contract, word for word where it is fixed."""
    error = answer.json["error"]
    assert list(answer.json) == ["success", "error"]
    assert answer.json["success"] is False
    assert list(error) == ["code", "message", "request_id"]
    assert error["code"] == code
    assert error["request_id"] == answer.headers["x-request-id"]
    assert not re.search(r"Traceback|Error|0x|\\|\.py|/(home|root|tmp|usr|var|work|app)/", error["message"])


@pytest.mark.parametrize(
    ("name", "bomb"), bad_images.bombs().items(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_bomb_is_refused_or_harmless(stack, name, bomb):
    image, status = bomb
    answer = exchange(stack.port, upload(image))
    assert answer.status == status, answer


def ask_for(stack, images) -> list[Answer]:
    return asyncio.run(ask_all(stack.port, [upload(image) for _, image in images]))


def test_cut_off_pictures_are_the_clients_fault(stack, cases):
    images = list(bad_images.truncated())
    before = set(stack.workers() + stack.workers("mnist_large"))
    answers = ask_for(stack, images)
    assert not [
        (name, a) for (name, _), a in zip(images, answers, strict=True) if a is None or a.status not in {422, 400}
    ]
    assert set(stack.workers() + stack.workers("mnist_large")) == before
    assert at_once(stack.port, cases).right == len(cases)


def test_mutated_pictures_are_the_clients_fault(stack, cases):
    images = list(bad_images.mutated(600, seed=1))
    before = set(stack.workers() + stack.workers("mnist_large"))
    answers = ask_for(stack, images)
    assert not [
        (name, a) for (name, _), a in zip(images, answers, strict=True) if a is None or a.status not in PICTURES_FAULT
    ]
    assert set(stack.workers() + stack.workers("mnist_large")) == before
    tally = at_once(stack.port, cases)
    assert tally.right == len(cases), dump(tally)


text = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=40)
part = st.tuples(
    st.one_of(st.just(IMAGE), st.builds('form-data; name="{}"; filename="{}"'.format, text, text), text),
    st.one_of(st.just(bad_requests.PICTURE), st.binary(max_size=200)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    st.lists(part, max_size=5),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=6)), max_size=3),
    st.sampled_from(["/api/mnist", "/api/mnist/batch", "/api/mnist?details=1"]),
)
def test_no_form_is_our_fault(service, parts, edits, path):
    body = bytearray(multipart(*((head.encode("latin-1").decode("latin-1"), payload) for head, payload in parts)))
    for at, replacement in edits:
        body[at : at + len(replacement)] = replacement
    answer = exchange(service.port, request(bytes(body), path=path))
    assert answer.status in PICTURES_FAULT, answer
    assert json.loads(answer.body)["success"] is (answer.status == 200)


def test_no_bad_request_leaves_anything_behind(stack):
    """Forty of the worst hold no more of the proxy's memory than one does."""
    worst = [
        case for case in bad_requests.every() if case.name in ("a header of 1 MB in a part", "9 MiB announced and sent")
    ]
    assert len(worst) == 2
    for case in worst * 5:
        exchange(stack.port, case.sent)
    before = stack.proxy.memory_info().rss
    for case in worst * 20:
        exchange(stack.port, case.sent)
    assert stack.proxy.memory_info().rss - before < 32 * bad_requests.MIB
