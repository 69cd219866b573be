"""The batcher: which images share a batch, which wait, which are refused, and what becomes of each."""

import asyncio
from math import inf
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.batcher import Batcher, Item, Limits
from proxy.errors import Cause, DeadlineExceeded, InternalError, ModelServerError, NotReady, Overloaded
from tests.rsgi import eventually

LIMITS = Limits(max_batch_size=64, max_batch_bytes=1000, max_in_flight=1, queue_size=100, timeout=60)


class Upstream:
    """Answers batches when the test says so; keeps which images came together.

    `lost` images have their batch never answered, `faults` maps an image to what its batch raises.
    """

    def __init__(self, lost=(), faults=None):
        self.batches, self.open = [], asyncio.Event()
        self.lost, self.faults = lost, faults or {}

    async def send(self, items):
        images = [item.image for item in items]
        self.batches.append(images)
        if any(image in self.lost for image in images):
            await asyncio.sleep(3600)
        await self.open.wait()
        for image in images:
            if image in self.faults:
                raise self.faults[image]
        return [b"seen " + image for image in images]


def items(*images, seconds=inf):
    return [Item(image, 0, monotonic() + seconds) for image in images]


def batcher_for(upstream, **limits):
    return Batcher(upstream.send, Cause.SMALL_QUEUE_FULL, LIMITS._replace(**limits))


async def settled():
    """All that can happen at this moment has."""
    for _ in range(50):
        await asyncio.sleep(0)


async def queued(batcher, *images, seconds=inf):
    """Submitted one after the other, each as a request of its own, and dispatched if they can be."""
    each = [items(image, seconds=seconds) for image in images]
    for one in each:
        batcher.submit(one)
        await settled()
    return [item for one in each for item in one]


async def results(found):
    return await asyncio.wait_for(asyncio.gather(*(item.result for item in found)), 10)


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_lone_images_go_at_once_and_waiting_ones_together():
    async def scenario():
        upstream = Upstream()
        batcher = batcher_for(upstream)
        found = await queued(batcher, b"a", b"b", b"c", b"d")
        assert upstream.batches == [[b"a"]]
        assert (batcher.queued, len(batcher.in_flight)) == (3, 1)
        upstream.open.set()
        assert await results(found) == [b"seen a", b"seen b", b"seen c", b"seen d"]
        assert upstream.batches == [[b"a"], [b"b", b"c", b"d"]]
        await settled()
        assert (batcher.queued, len(batcher.in_flight)) == (0, 0)

    run(scenario)


def test_what_comes_at_one_moment_goes_together():
    async def scenario():
        upstream = Upstream()
        batcher = batcher_for(upstream)
        for image in (b"a", b"b", b"c"):
            batcher.submit(items(image))
        await settled()
        assert upstream.batches == [[b"a", b"b", b"c"]]

    run(scenario)


def test_nothing_waits_while_a_slot_is_free():
    """Whatever the size of the batches in flight: work-conserving."""

    async def scenario():
        upstream = Upstream()
        batcher = batcher_for(upstream, max_in_flight=3)
        batcher.submit(items(*[b"x"] * 50))
        await settled()
        await queued(batcher, b"a", b"b")
        assert upstream.batches == [[b"x"] * 50, [b"a"], [b"b"]]
        await queued(batcher, b"c")
        assert (batcher.queued, len(batcher.in_flight)) == (1, 3)

    run(scenario)


def test_a_lost_batch_delays_no_lone_image():
    async def scenario():
        upstream = Upstream(lost=[b"lost"])
        upstream.open.set()
        batcher = batcher_for(upstream, max_in_flight=2)
        batcher.submit(items(*[b"lost"] * 40))
        await settled()
        for number in range(5):
            [alone] = await queued(batcher, b"%d" % number)
            assert alone.result.done()
        assert len(batcher.in_flight) == 1

    run(scenario)


def test_a_lost_batch_counts_as_failed_after_the_timeout():
    async def scenario():
        upstream = Upstream(lost=[b"lost"])
        upstream.open.set()
        batcher = batcher_for(upstream, timeout=0.05)
        lost, waiting = await queued(batcher, b"lost", b"a")
        assert batcher.queued == 1
        [first, second] = await results([lost, waiting])
        assert isinstance(first, ModelServerError)
        assert second == b"seen a"

    run(scenario)


def test_batches_are_bounded_in_images_and_bytes():
    async def scenario():
        upstream = Upstream()
        batcher = batcher_for(upstream, max_batch_size=2, max_batch_bytes=10)
        found = await queued(batcher, b"0", b"1", b"2", b"3", b"x" * 50, b"y" * 6, b"z" * 6)
        upstream.open.set()
        await results(found)
        assert upstream.batches == [[b"0"], [b"1", b"2"], [b"3"], [b"x" * 50], [b"y" * 6], [b"z" * 6]]

    run(scenario)


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=40),
    st.integers(1, 8),
    st.integers(1, 40),
    st.integers(1, 4),
)
def test_every_image_gets_its_own_reply_within_the_limits(sizes, most, most_bytes, slots):
    async def scenario():
        upstream = Upstream()
        batcher = batcher_for(upstream, max_batch_size=most, max_batch_bytes=most_bytes, max_in_flight=slots)
        images = [bytes([index]) + b"x" * size for index, size in enumerate(sizes)]
        found = items(*images)
        batcher.submit(found)
        await settled()
        assert len(batcher.in_flight) <= slots
        assert len(batcher.in_flight) == slots or not batcher.queued
        upstream.open.set()
        assert await results(found) == [b"seen " + image for image in images]
        assert [image for batch in upstream.batches for image in batch] == images
        assert all(len(batch) == 1 or sum(map(len, batch)) <= most_bytes for batch in upstream.batches)
        assert all(len(batch) <= most for batch in upstream.batches)

    run(scenario)


def test_a_full_queue_refuses_a_group_as_a_whole():
    async def scenario():
        upstream = Upstream()
        batcher = batcher_for(upstream, queue_size=3)
        await queued(batcher, b"in flight", b"a", b"b")
        with pytest.raises(Overloaded) as raised:
            batcher.submit(items(b"c", b"d"))
        assert raised.value.cause is Cause.SMALL_QUEUE_FULL
        assert batcher.queued == 2
        batcher.submit(items(b"c"))
        assert batcher.queued == 3

    run(scenario)


def test_an_empty_queue_takes_even_a_large_group():
    async def scenario():
        upstream = Upstream()
        batcher = batcher_for(upstream, queue_size=2)
        await queued(batcher, b"in flight")
        batcher.submit(items(b"b", b"c", b"d"))
        assert batcher.queued == 3

    run(scenario)


def test_a_deadline_passes_in_the_queue_and_in_flight():
    async def scenario():
        upstream = Upstream()
        batcher = batcher_for(upstream)
        in_flight, waiting, patient = await queued(batcher, b"a", b"b", b"c")
        in_flight.deadline = waiting.deadline = monotonic() - 1
        batcher.sweep()
        for item in (in_flight, waiting):
            assert isinstance(item.result.result(), DeadlineExceeded)
        assert batcher.queued == 1
        upstream.open.set()
        assert (await results([patient]))[0] == b"seen c"
        assert upstream.batches == [[b"a"], [b"c"]]

    run(scenario)


def test_a_hanging_batch_ends_with_its_last_deadline():
    async def scenario():
        upstream = Upstream(lost=[b"a"])
        batcher = batcher_for(upstream)
        await queued(batcher, b"a", seconds=0.05)
        assert len(batcher.in_flight) == 1
        await eventually(lambda: len(batcher.in_flight) == 0)

    run(scenario)


def test_a_cancelled_image_frees_its_place():
    async def scenario():
        upstream = Upstream()
        batcher = batcher_for(upstream)
        first, second, third = await queued(batcher, b"a", b"b", b"c")
        second.result.cancel()
        batcher.sweep()
        assert batcher.queued == 1
        upstream.open.set()
        await results([first, third])
        assert upstream.batches == [[b"a"], [b"c"]]

    run(scenario)


def test_one_that_is_cancelled_in_flight_takes_nobodys_reply():
    async def scenario():
        upstream = Upstream()
        batcher = batcher_for(upstream)
        group = items(b"a", b"b", b"c")
        batcher.submit(group)
        await settled()
        group[1].result.cancel()
        batcher.sweep()
        upstream.open.set()
        assert await results([group[0], group[2]]) == [b"seen a", b"seen c"]
        assert group[1].result.cancelled()

    run(scenario)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ModelServerError(), ModelServerError),
        (NotReady(Cause.TORCHSERVE_UNREACHABLE), NotReady),
        (RuntimeError("a bug"), InternalError),
    ],
)
def test_a_failed_batch_fails_its_own_images_only(raised, expected):
    async def scenario():
        upstream = Upstream(faults={b"bad": raised})
        upstream.open.set()
        batcher = batcher_for(upstream)
        failing = items(b"a", b"bad")
        batcher.submit(failing)
        [first, second] = await results(failing)
        assert (type(first), type(second)) == (expected, expected)
        [other] = await queued(batcher, b"c")
        assert (await results([other]))[0] == b"seen c"

    run(scenario)


def test_a_bug_in_sending_is_logged(caplog):
    async def scenario():
        upstream = Upstream(faults={b"bad": RuntimeError("the trace that helps")})
        upstream.open.set()
        await results(await queued(batcher_for(upstream), b"bad"))

    run(scenario)
    assert "the trace that helps" in caplog.text


def test_images_know_when_they_were_queued_sent_and_answered():
    async def scenario():
        upstream = Upstream()
        batches = []
        batcher = batcher_for(upstream)
        batcher.on_batch = lambda images, seconds: batches.append((images, seconds))
        first, second, third = await queued(batcher, b"a", b"b", b"c")
        assert 0 < first.enqueued <= first.dispatched
        assert first.completed == second.dispatched == 0
        upstream.open.set()
        await results([first, second, third])
        assert all(item.enqueued <= item.dispatched <= item.completed for item in (first, second, third))
        await settled()
        assert batches == [(1, first.completed - first.dispatched), (2, second.completed - second.dispatched)]

    run(scenario)


def test_requests_of_many_images_take_turns():
    async def scenario():
        upstream = Upstream()
        batcher = batcher_for(upstream, max_batch_size=2)
        first = await queued(batcher, b"0")
        many, other = items(b"a1", b"a2", b"a3"), items(b"b1")
        batcher.submit(many)
        batcher.submit(other)
        many[1].result.cancel()
        batcher.sweep()
        assert batcher.queued == 3
        upstream.open.set()
        await results([*first, many[0], many[2], *other])
        assert upstream.batches == [[b"0"], [b"a1", b"b1"], [b"a3"]]
        assert batcher.queued == 0

    run(scenario)
