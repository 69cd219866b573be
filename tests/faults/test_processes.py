"""Workers that die, a JVM that dies or hangs, a picture that kills: what 64 clients see of it."""

import pytest

from tests.bad_images import POISON, digit, store_with_poison
from tests.faults import processes
from tests.load import Case, at_once, dump, sample_cases
from tests.raw_http import upload
from tests.stack import running

PAUSE = 0.1  # load enough to meet every fault, and room for the restarts
BROKEN = [
    Case(upload(b"\x89PNG\r\n\x1a\n this is no picture"), 422, "undecodable_image"),
    Case(upload(digit("JPEG")[:200]), 422, "undecodable_image"),
    Case(upload(b""), 400, "empty_image"),
]


@pytest.fixture(scope="module")
def patient(tmp_path_factory, model_store):
    """A service whose deadline no restart of a worker passes, however busy the machine, and that poison can kill."""
    store = store_with_poison(tmp_path_factory.mktemp("store") / "poison", model_store / "mnist.mar")
    with running(tmp_path_factory.mktemp("patient"), DEADLINE_SECONDS="90", MODEL_STORE=str(store)) as stack:
        yield stack


@pytest.mark.parametrize("broken", BROKEN)
def test_one_broken_picture_costs_its_63_companions_nothing(stack, cases, broken):
    tally = processes.one_broken_among_63(stack, cases, broken, rounds=10)
    assert tally.right == tally.sent == 640, dump(tally)


def test_killing_a_worker_costs_nobody_an_answer(patient):
    tally = processes.kill_one_worker(patient, sample_cases(patient.port), times=1, pause=PAUSE)
    assert tally.right == tally.sent, dump(tally)


def test_killing_all_workers_costs_nobody_an_answer(patient):
    # without a pause, so that batches are in flight
    tally = processes.kill_all_workers(patient, sample_cases(patient.port), times=1)
    assert tally.right == tally.sent, dump(tally)


def test_an_image_that_kills_workers_fails_alone(patient):
    cases = sample_cases(patient.port)
    poison = Case(upload(digit("PNG") + POISON), 502, "model_server_error")
    tally = at_once(patient.port, [*cases * 6, poison, *cases[:3]])
    assert tally.right == tally.sent == 64, dump(tally)


def test_the_supervisor_brings_a_killed_jvm_back(stack, cases):
    tally = processes.kill_java(stack, cases, times=1, pause=PAUSE)
    assert not tally.wrong, dump(tally)
    assert not tally.lost, dump(tally)
    assert set(tally.refused) == {"503 not_ready"}, dump(tally)


def test_a_hanging_jvm_gives_504_and_an_unready_service(stack, cases):
    tally, _ = processes.hang_java(stack, cases, seconds=12, pause=PAUSE)
    assert not tally.wrong, dump(tally)
    assert not tally.lost, dump(tally)
    assert set(tally.refused) == {"504 deadline_exceeded"}, dump(tally)
    assert processes.one_broken_among_63(stack, cases, BROKEN[0], rounds=1).right == 64
