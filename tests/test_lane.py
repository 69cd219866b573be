"""The lane: who shares a trip, who waits, who is refused, and what becomes of those who leave."""

import asyncio
from time import monotonic

import pytest

from proxy.errors import DeadlineExceeded, InternalError, ModelServerError, Overloaded
from proxy.lane import SLACK, Lane, Upload
from proxy.trip import Reply
from proxy.watch import watch


class Road:
    """Trips that take place when the test says so; keeps which images went together."""

    def __init__(self):
        self.trips = []
        self.open = asyncio.Event()

    async def carry(self, uploads):
        images = [image for upload in uploads for image in upload.images]
        self.trips.append(images)
        await self.open.wait()
        return [Reply(200, b"seen " + image) for image in images]


def upload(*images, seconds=5.0):
    return Upload(images, 0, monotonic() + seconds)


def lane_on(road, **sizes):
    return Lane(road.carry, **{"trips": 1, "pictures": 64, "size": 1000, "queue": 100, "patience": 60} | sizes)


async def settled():
    """All that can happen at this moment has."""
    for _ in range(50):
        await asyncio.sleep(0)


async def started(lane, *uploads):
    """Their tasks: the first upload has joined, then all others at one moment."""
    first = asyncio.create_task(lane.forward(uploads[0]))
    await settled()
    others = [asyncio.create_task(lane.forward(u)) for u in uploads[1:]]
    await settled()
    return [first, *others]


def test_a_lone_upload_leaves_at_once_and_those_that_wait_leave_together():
    async def scenario():
        road = Road()
        lane = lane_on(road)
        tasks = await started(lane, upload(b"a"), upload(b"b"), upload(b"c", b"d"))
        assert road.trips == [[b"a"]]
        assert lane.waiting == 3
        road.open.set()
        replies = await asyncio.gather(*tasks)
        assert road.trips == [[b"a"], [b"b", b"c", b"d"]]
        assert [[r.body for r in each] for each in replies] == [[b"seen a"], [b"seen b"], [b"seen c", b"seen d"]]
        assert (lane.waiting, lane.under_way) == (0, {})

    asyncio.run(scenario())


def test_those_that_come_at_one_moment_leave_together():
    async def scenario():
        road = Road()
        road.open.set()
        lane = lane_on(road)
        await asyncio.gather(*(lane.forward(upload(b"%d" % i)) for i in range(3)))
        assert road.trips == [[b"0", b"1", b"2"]]

    asyncio.run(scenario())


def test_a_further_trip_leaves_with_its_share_of_the_pictures():
    async def scenario():
        road = Road()
        lane = lane_on(road, trips=3)
        alone = await started(lane, upload(b"a"))
        group = await started(lane, upload(*[b"x"] * 9))
        few = [asyncio.create_task(lane.forward(upload(b"%d" % i))) for i in range(5)]
        await settled()
        assert road.trips == [[b"a"], [b"x"] * 9, [b"0", b"1", b"2", b"3", b"4"]]  # five: a third of all fifteen
        road.open.set()
        await asyncio.gather(*alone, *group, *few)

    asyncio.run(scenario())


def test_no_trip_takes_more_than_its_share():
    async def scenario():
        road = Road()
        lane = lane_on(road, trips=3)
        crowd = [asyncio.create_task(lane.forward(upload(b"%d" % i))) for i in range(60)]
        await settled()
        assert [len(trip) for trip in road.trips] == [20, 20, 20]
        road.open.set()
        await asyncio.gather(*crowd)

    asyncio.run(scenario())


def test_fewer_than_their_share_wait_for_the_next_landing():
    async def scenario():
        road = Road()
        lane = lane_on(road, trips=2)
        under_way = await started(lane, upload(*[b"x"] * 10))
        few = await started(lane, upload(b"a"), upload(b"b"))
        assert (len(road.trips), lane.waiting) == (1, 2)
        road.open.set()
        await asyncio.gather(*under_way, *few)
        assert road.trips[1] == [b"a", b"b"]

    asyncio.run(scenario())


def test_a_deadline_passes_in_the_queue_and_on_the_trip():
    async def scenario():
        road = Road()
        lane = lane_on(road)
        watching = asyncio.create_task(watch(lane.look))
        late, waits, patient = await started(lane, upload(b"a", seconds=0.1), upload(b"b", seconds=0.1), upload(b"c"))
        for task in (late, waits):
            with pytest.raises(DeadlineExceeded):
                await task
        road.open.set()
        assert (await patient)[0].body == b"seen c"
        assert [b"b"] not in road.trips
        assert lane.waiting == 0
        watching.cancel()

    asyncio.run(scenario())


def test_trips_are_capped_in_pictures_and_in_bytes_but_every_upload_gets_a_trip():
    async def scenario():
        road = Road()
        lane = lane_on(road, pictures=2, size=10)
        road.open.set()
        await asyncio.gather(
            *await started(lane, upload(b"0"), *(upload(b"%d" % i) for i in range(1, 4)), upload(b"x" * 50))
        )
        assert road.trips == [[b"0"], [b"1", b"2"], [b"3"], [b"x" * 50]]

    asyncio.run(scenario())


def test_a_full_queue_refuses_and_an_empty_one_takes_even_a_large_group():
    async def scenario():
        road = Road()
        lane = lane_on(road, queue=2)
        await started(lane, upload(b"a"), upload(b"b", b"c", b"d"))
        with pytest.raises(Overloaded):
            await lane.forward(upload(b"e"))
        road.open.set()

    asyncio.run(scenario())


def test_an_upload_that_leaves_frees_its_place_and_travels_nowhere():
    async def scenario():
        road = Road()
        lane = lane_on(road)
        first, second, third = await started(lane, upload(b"a"), upload(b"b"), upload(b"c"))
        second.cancel()
        await settled()
        assert lane.waiting == 1
        road.open.set()
        await asyncio.gather(first, third)
        assert road.trips == [[b"a"], [b"c"]]

    asyncio.run(scenario())


def test_one_that_leaves_during_the_trip_takes_nobodys_reply():
    async def scenario():
        road = Road()
        lane = lane_on(road)
        _, left, stayed = await started(lane, upload(b"a"), upload(b"b"), upload(b"c"))
        road.open.set()
        await asyncio.sleep(0)
        left.cancel()
        assert (await stayed)[0].body == b"seen c"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("raised", "expected"), [(ModelServerError(), ModelServerError), (RuntimeError(), InternalError)]
)
def test_a_failed_trip_fails_everyone_aboard_and_nobody_else(raised, expected):
    async def scenario():
        calls = []

        async def carry(uploads):
            calls.append(uploads)
            if len(calls) == 1:
                raise raised
            return [Reply(200, image) for upload in uploads for image in upload.images]

        lane = Lane(carry, trips=1, pictures=1, size=1000, queue=100, patience=60)
        failed, answered = await started(lane, upload(b"a"), upload(b"b"))
        with pytest.raises(expected):
            await failed
        assert (await answered)[0].body == b"b"

    asyncio.run(scenario())


def test_a_trip_that_hangs_is_given_up_with_the_last_deadline_aboard():
    async def scenario():
        road = Road()
        lane = lane_on(road)
        task = asyncio.create_task(lane.forward(upload(b"a", seconds=0.05)))
        await asyncio.sleep(0.05 + 2 * SLACK)
        assert lane.under_way == {}
        task.cancel()

    asyncio.run(scenario())
