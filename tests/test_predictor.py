"""What is tried again and how: shared trips that fail, pictures too large to share, pictures that fail always."""

import asyncio

from proxy import predictor as module
from proxy.batch import groups_of
from proxy.errors import DeadlineExceeded, ModelServerError, NotReady
from proxy.predictor import Predictor
from proxy.settings import Settings
from proxy.trip import TRAVEL_ALONE, Reply
from proxy.watch import watch
from tests.exchanges import request_of


class TorchServe:
    """The far end: answers with the image itself; `faults` maps an image to what it does to its trip."""

    def __init__(self, faults=None, hang=False):
        self.faults, self.hang = faults or {}, hang
        self.trips, self.alone = [], []

    async def carry(self, model, alone, uploads):
        images = [image for upload in uploads for image in upload.images]
        self.trips.append((model, images))
        if alone:
            self.alone.append(images[0])
        if self.hang:
            await asyncio.sleep(60)
        for image in images:
            fault = self.faults.get((image, alone))
            if fault:
                raise fault
        return [Reply(TRAVEL_ALONE if b"wide" in image and not alone else 200, image) for image in images]


def predict(torchserve, *images, monkeypatch=None, **settings):
    async def scenario():
        predictor = Predictor(Settings(**settings), torchserve)
        lanes = predictor.small, predictor.bulk, predictor.alone
        watching = asyncio.create_task(watch(*(lane.look for lane in lanes)))  # noqa: F841, RUF006
        return await predictor.predict(images, request_of())

    return asyncio.run(scenario())


def bodies(results):
    return [r.body if isinstance(r, Reply) else type(r) for r in results]


def test_the_pictures_of_one_request_share_a_trip():
    torchserve = TorchServe()
    assert bodies(predict(torchserve, b"a", b"b")) == [b"a", b"b"]
    assert torchserve.trips == [("mnist_bulk", [b"a", b"b"])]
    assert not torchserve.alone


def test_small_pictures_are_never_behind_larger_ones():
    torchserve = TorchServe()

    async def scenario():
        predictor = Predictor(Settings(small_bytes=10), torchserve)
        images = [b"small 1", b"a larger one", b"small 2", b"larger again"]
        await asyncio.gather(*(predictor.predict([image], request_of()) for image in images))

    asyncio.run(scenario())
    assert torchserve.trips == [
        ("mnist_small", [b"small 1", b"small 2"]),
        ("mnist_bulk", [b"a larger one", b"larger again"]),
    ]


def test_a_large_picture_travels_alone_at_once():
    torchserve = TorchServe()
    predict(torchserve, b"x" * 2000, large_bytes=1024)
    assert [model for model, _ in torchserve.trips] == ["mnist_bulk"]


def test_only_what_is_too_large_to_share_is_sent_again_alone():
    torchserve = TorchServe()
    assert bodies(predict(torchserve, b"a", b"wide", b"c")) == [b"a", b"wide", b"c"]
    assert torchserve.trips == [("mnist_bulk", [b"a", b"wide", b"c"]), ("mnist_bulk", [b"wide"])]


def test_a_picture_that_kills_workers_is_refused_and_its_companions_are_answered(monkeypatch):
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.01, 0.01))
    killer = {(b"killer", False): ModelServerError(), (b"killer", True): ModelServerError()}
    torchserve = TorchServe(killer)
    assert bodies(predict(torchserve, b"a", b"killer", b"c")) == [b"a", ModelServerError, b"c"]
    assert sum(images == [b"killer"] for _, images in torchserve.trips) == 3


def test_a_trip_that_failed_by_chance_costs_nobody_anything(monkeypatch):
    torchserve = TorchServe({(b"a", False): ModelServerError()})
    assert bodies(predict(torchserve, b"a", b"b")) == [b"a", b"b"]


def test_a_torchserve_that_is_away_is_not_asked_again():
    torchserve = TorchServe({(b"a", False): NotReady()})
    assert bodies(predict(torchserve, b"a")) == [NotReady]
    assert len(torchserve.trips) == 1


def test_one_that_hangs_costs_no_more_than_the_deadline():
    assert bodies(predict(TorchServe(hang=True), b"a", deadline_seconds=0.1)) == [DeadlineExceeded]


def test_without_coalescing_every_upload_makes_its_own_request():
    torchserve = TorchServe()

    async def scenario():
        predictor = Predictor(Settings(coalesce=False), torchserve)
        await asyncio.gather(*(predictor.predict([b"%d" % i], request_of()) for i in range(30)))

    asyncio.run(scenario())
    assert [len(images) for _, images in torchserve.trips] == [1] * 30


def test_batches_are_cut_into_trips_by_count_bytes_and_size_of_picture():
    settings = Settings(trip_pictures=3, trip_bytes=2000, large_bytes=1024)
    images = [b"1", b"2", b"3", b"4", b"x" * 1500, b"5", b"y" * 1000, b"z" * 1000]
    assert list(groups_of(images, settings)) == [
        [b"1", b"2", b"3"],
        [b"4"],
        [b"x" * 1500],
        [b"5", b"y" * 1000],
        [b"z" * 1000],
    ]
    assert list(groups_of([], settings)) == []


def test_a_picture_that_passes_the_deadline_costs_its_companions_nothing():
    class Slow(TorchServe):
        async def carry(self, model, alone, uploads):
            await asyncio.sleep(60 if alone else 0)
            return await super().carry(model, alone, uploads)

    results = predict(Slow(), b"a", b"wide", b"c", deadline_seconds=0.2)
    assert bodies(results) == [b"a", DeadlineExceeded, b"c"]


def test_one_requests_many_large_pictures_take_turns_with_anothers():
    async def scenario():
        torchserve = TorchServe()
        predictor = Predictor(Settings(large_trips=1), torchserve)
        many = [b"wide %d" % number for number in range(20)]
        first = asyncio.create_task(predictor.predict(many, request_of(), turn=asyncio.Semaphore(1)))
        while not torchserve.alone:
            await asyncio.sleep(0)
        await predictor.predict([b"wide, of somebody else"], request_of(), turn=asyncio.Semaphore(1))
        done = list(torchserve.alone)
        assert bodies(await first) == many
        return done

    assert len(asyncio.run(scenario())) <= 4


def test_a_shared_trip_that_torchserve_forgot_is_made_again_alone(monkeypatch):
    class Forgetful(TorchServe):
        async def carry(self, model, alone, uploads):
            await asyncio.sleep(0 if alone else 60)
            return await super().carry(model, alone, uploads)

    monkeypatch.setattr(module, "PATIENCE", 0.1)
    assert bodies(predict(Forgetful(), b"a", b"b")) == [b"a", b"b"]
