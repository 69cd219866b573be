"""The two endpoints, from socket to socket: answers, retries, size classes, refusals and their causes."""

import asyncio
import json

import pytest

from proxy import __main__ as main
from proxy import upload
from proxy.admission import SizeClass
from proxy.errors import BadParameter
from proxy.torchserve import DETAILS
from proxy.upload import details_flag
from tests.proxies import far_end, png, prediction, proxy
from tests.rsgi import eventually, fetch, multipart

SMALL, OTHER, THIRD = png(1), png(2), png(3)
PHOTO = png(4, padding=20_000)
SCAN = png(5, side=200)  # of more pixels than `isolated_pixels` in these tests


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(upload, "RETRY_PAUSES", (0.0, 0.01, 0.01))


@pytest.fixture
def run(tmp_path):
    """Runs `scenario(far, proxy)`."""

    def run(scenario, **settings):
        async def whole():
            async with far_end() as (far, port), proxy(tmp_path, port, **settings) as one:
                return await asyncio.wait_for(scenario(far, one), 30)

        return asyncio.run(whole())

    return run


def code(answer):
    return answer.status, json.loads(answer.body)["error"]["code"]


def results(answer):
    """Of a batch: each prediction, or the code of each error."""
    body = json.loads(answer.body)
    assert (answer.status, list(body), body["success"]) == (200, ["results", "success"], True)
    return [each["error"]["code"] if "error" in each else each for each in body["results"]]


def test_an_upload_gets_the_handlers_body_as_it_is(run):
    async def scenario(far, proxy):
        far.replies[SMALL] = 200, b'{"predictions": {},   "success": true}'
        answer = await proxy.upload(SMALL)
        assert (answer.status, answer.body) == (200, b'{"predictions": {},   "success": true}')
        assert answer.headers["content-type"] == "application/json"

    run(scenario)


def test_a_raw_body_is_an_upload_too(run):
    async def scenario(far, proxy):
        answer = await fetch(proxy.port, "/api/mnist", SMALL, {"Content-Type": "image/png"})
        assert json.loads(answer.body) == prediction(SMALL)

    run(scenario)


def test_results_come_in_the_order_of_the_images(run):
    images = [SCAN, SMALL, b"II*\0 a TIFF", PHOTO, OTHER, b"no image", THIRD]

    async def scenario(far, proxy):
        assert results(await proxy.upload(*images)) == [prediction(image) for image in images]
        assert [len(images) for _, images in far.batches].count(1) == 2  # the scan and the TIFF
        assert all(far.with_image(image) == [5] for image in (SMALL, PHOTO, OTHER, b"no image", THIRD))

    run(scenario, isolated_pixels=10_000)


def test_uploads_go_to_the_model_of_their_size_class(run):
    async def scenario(far, proxy):
        for image in (SMALL, PHOTO, SCAN):
            assert (await proxy.upload(image)).status == 200
        assert far.batches == [("mnist_small", [SMALL]), ("mnist_large", [PHOTO]), ("mnist_large", [SCAN])]
        for size_class in SizeClass:
            assert await proxy.metric("mnist_batch_images_count", size_class=size_class.value) == 1

    run(scenario, isolated_pixels=10_000)


def test_many_pixels_in_few_bytes_never_share_a_batch(run):
    """By its bytes it is small; by its header it takes a worker for long."""
    scan = png(0, side=300)
    assert len(scan) < 1000

    async def scenario(far, proxy):
        far.opened.clear()
        first = asyncio.create_task(proxy.upload(PHOTO))
        await eventually(lambda: far.batches)
        both = asyncio.create_task(proxy.upload(scan, SMALL))
        await eventually(lambda: len(far.batches) == 3)
        assert far.with_image(scan) == far.with_image(SMALL) == [1]
        far.opened.set()
        await asyncio.gather(first, both)

    run(scenario, isolated_pixels=10_000)


@pytest.mark.parametrize(
    ("settings", "most"), [({"ts_workers": 1}, 2), ({"ts_workers": 4}, 5), ({"ts_workers": 4, "large_in_flight": 3}, 3)]
)
def test_photos_are_in_flight_together_as_many_as_workers_take(run, settings, most):
    photos = [png(shade, padding=20_000) for shade in range(8)]

    async def scenario(far, proxy):
        batcher = proxy.batchers[SizeClass.LARGE]
        far.opened.clear()
        uploads = []
        for number, photo in enumerate(photos, 1):
            uploads.append(asyncio.create_task(proxy.upload(photo)))
            expected = min(number, most), max(0, number - most)
            await eventually(lambda expected=expected: (len(batcher.in_flight), batcher.queued) == expected)
        far.opened.set()
        assert [answer.status for answer in await asyncio.gather(*uploads)] == [200] * 8

    run(scenario, **settings)


def test_a_batch_size_of_one_sends_images_one_by_one(run):
    async def scenario(far, proxy):
        assert results(await proxy.upload(SMALL, OTHER, THIRD)) == [prediction(i) for i in (SMALL, OTHER, THIRD)]
        assert [len(images) for _, images in far.batches] == [1, 1, 1]

    run(scenario, batch_size=1)


def test_an_image_whose_batch_failed_is_tried_again_by_itself(run):
    async def scenario(far, proxy):
        far.failures[SMALL] = 1
        assert results(await proxy.upload(SMALL, OTHER)) == [prediction(SMALL), prediction(OTHER)]
        assert far.with_image(SMALL) == far.with_image(OTHER) == [2, 1]

    run(scenario)


def test_an_image_that_kills_workers_takes_no_other_with_it(run):
    async def scenario(far, proxy):
        far.failures[OTHER] = 1000
        answer = await proxy.upload(SMALL, OTHER, THIRD)
        assert results(answer) == [prediction(SMALL), "model_server_error", prediction(THIRD)]
        assert far.with_image(SMALL) == far.with_image(THIRD) == [3, 1]
        assert far.with_image(OTHER) == [3, 1, 1, 1]
        assert code(await proxy.upload(OTHER)) == (502, "model_server_error")

    run(scenario)


def test_an_image_that_kills_workers_costs_other_clients_nothing(run):
    async def scenario(far, proxy):
        far.failures[OTHER] = 1000
        far.opened.clear()
        first = [asyncio.create_task(proxy.upload(png(shade))) for shade in (10, 11)]
        await eventually(lambda: len(proxy.batchers[SizeClass.SMALL].in_flight) == 1)
        rest = [asyncio.create_task(proxy.upload(image)) for image in (SMALL, OTHER, THIRD)]
        await eventually(lambda: proxy.batchers[SizeClass.SMALL].queued >= 3)
        far.opened.set()
        await asyncio.gather(*first)
        assert [answer.status for answer in await asyncio.gather(*rest)] == [200, 502, 200]

    run(scenario, small_in_flight=1)


def test_a_batch_that_torchserve_forgot_is_sent_again(run, monkeypatch):
    monkeypatch.setattr(main, "BATCH_TIMEOUT", 0.1)

    async def scenario(far, proxy):
        far.lost[SMALL] = 1
        assert results(await proxy.upload(SMALL, OTHER)) == [prediction(SMALL), prediction(OTHER)]
        assert far.with_image(OTHER) == [2, 1]

    run(scenario)


def test_a_lost_batch_delays_no_other_upload(run):
    async def scenario(far, proxy):
        far.lost[OTHER] = 1
        lost = asyncio.create_task(proxy.upload(OTHER))
        await eventually(lambda: far.batches)
        for shade in range(20, 30):
            assert (await proxy.upload(png(shade))).status == 200
            assert not lost.done()
        lost.cancel()

    run(scenario)


def test_an_images_own_fault_is_its_answer(run):
    async def scenario(far, proxy):
        far.replies[SMALL] = 422, b'{"code": "undecodable_image", "message": "The file is cut off."}'
        answer = await proxy.upload(SMALL)
        assert code(answer) == (422, "undecodable_image")
        assert json.loads(answer.body)["error"]["message"] == "The file is cut off."
        assert results(await proxy.upload(SMALL, OTHER)) == ["undecodable_image", prediction(OTHER)]
        assert far.with_image(SMALL) == [1, 2]

    run(scenario)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"code": "x"}', b"Prediction failed"])
def test_an_error_that_makes_no_sense_is_the_model_servers(run, body):
    async def scenario(far, proxy):
        far.replies[SMALL] = 500, body
        assert code(await proxy.upload(SMALL)) == (502, "model_server_error")

    run(scenario)


def test_the_deadline_covers_queue_and_inference(run):
    async def scenario(far, proxy):
        far.opened.clear()
        uploads = [asyncio.create_task(proxy.upload(png(shade))) for shade in range(4)]
        assert [code(answer) for answer in await asyncio.gather(*uploads)] == [(504, "deadline_exceeded")] * 4
        far.opened.set()
        await eventually(lambda: len(proxy.batchers[SizeClass.SMALL].in_flight) == 0)

    run(scenario, small_in_flight=1, deadline_seconds=0.3)


@pytest.mark.parametrize(
    ("query", "flag"),
    [
        ("", 0),
        ("?other=1", 0),
        *((f"?details={value}", DETAILS) for value in ("1", "true", "True", "yes", "YES")),
        *((f"?details={value}", 0) for value in ("0", "false", "False", "no")),
        ("?details=0&details=1", DETAILS),
        ("?a=b&details=1", DETAILS),
    ],
)
def test_details_are_asked_for_by_every_usual_word(run, query, flag):
    async def scenario(far, proxy):
        for path, images in (("/api/mnist", [SMALL]), ("/api/mnist/batch", [OTHER, THIRD])):
            assert (await proxy.upload(*images, path=path + query)).status == 200
        assert far.flags == dict.fromkeys((SMALL, OTHER, THIRD), flag)

    run(scenario)


@pytest.mark.parametrize("value", ["", "2", "on", "y", "-1", "1,0", "%FF"])
def test_a_value_of_details_that_means_nothing_is_refused(run, value):
    with pytest.raises(BadParameter):
        details_flag(f"details={value}")

    async def scenario(far, proxy):
        assert code(await proxy.upload(SMALL, path=f"/api/mnist?details={value}")) == (400, "bad_parameter")
        assert far.batches == []

    run(scenario)


def test_images_of_a_batch_have_the_limit_of_one(run):
    large = png(6, padding=5000)

    async def scenario(far, proxy):
        assert code(await proxy.upload(large)) == (413, "body_too_large")
        found = results(await proxy.upload(SMALL, large, OTHER))
        assert found == [prediction(SMALL), "body_too_large", prediction(OTHER)]
        assert far.with_image(large) == []

    run(scenario, max_body_bytes=4096)


def test_too_many_images(run):
    async def scenario(far, proxy):
        assert code(await proxy.upload(SMALL, OTHER, THIRD, THIRD)) == (413, "too_many_images")
        assert code(await proxy.upload(SMALL, OTHER, path="/api/mnist")) == (400, "several_images")
        assert far.batches == []

    run(scenario, max_batch_images=3)


async def blocked(far, proxy, size_class, image):
    """One upload in flight and one waiting, in a batcher with room for no more."""
    far.opened.clear()
    uploads = []
    batcher = proxy.batchers[size_class]
    for number in range(2):
        uploads.append(asyncio.create_task(proxy.upload(image[:-1] + bytes([number]))))
        await eventually(lambda number=number: (len(batcher.in_flight), batcher.queued) == (1, number))
    return uploads


ONE_EACH = {"queue_size": 1, "small_in_flight": 1, "large_in_flight": 1}


@pytest.mark.parametrize(
    ("full", "filling", "other"), [(SizeClass.SMALL, SMALL, PHOTO), (SizeClass.LARGE, PHOTO, SMALL)]
)
def test_a_full_queue_refuses_its_own_size_class_alone(run, full, filling, other):
    """With small images waiting a photo is admitted, and the other way round."""

    async def scenario(far, proxy):
        uploads = await blocked(far, proxy, full, filling + b"\0")
        assert code(await proxy.upload(filling)) == (503, "overloaded")
        uploads.append(asyncio.create_task(proxy.upload(other)))
        await eventually(lambda: far.with_image(other))
        far.opened.set()
        assert [answer.status for answer in await asyncio.gather(*uploads)] == [200, 200, 200]

    run(scenario, **ONE_EACH)


async def refused(proxy, cause, answer):
    """The refusal's cause stands in the metrics and in the log."""
    assert await proxy.metric("mnist_refusals_total", cause=cause) == 1
    line = await proxy.logged(answer.headers["x-request-id"])
    assert (line["status"], line["cause"]) == (503, cause)
    assert line["code"] == json.loads(answer.body)["error"]["code"]
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("size_class", "image", "cause"),
    [
        (SizeClass.SMALL, SMALL, "small_queue_full"),
        (SizeClass.LARGE, PHOTO, "large_queue_full"),
        (SizeClass.ISOLATED, SCAN, "isolated_queue_full"),
    ],
)
def test_a_refusal_names_the_queue_that_is_full(run, size_class, image, cause):
    async def scenario(far, proxy):
        uploads = await blocked(far, proxy, size_class, image + b"\0")
        answer = await proxy.upload(image)
        assert code(answer) == (503, "overloaded")
        await refused(proxy, cause, answer)
        far.opened.set()
        await asyncio.gather(*uploads)

    run(scenario, isolated_pixels=10_000, **ONE_EACH)


def test_a_batch_without_room_is_refused_as_a_whole(run):
    async def scenario(far, proxy):
        uploads = await blocked(far, proxy, SizeClass.LARGE, PHOTO + b"\0")
        answer = await proxy.upload(PHOTO, OTHER)
        assert code(answer) == (503, "overloaded")
        await refused(proxy, "large_queue_full", answer)
        assert far.with_image(OTHER) == []
        far.opened.set()
        await asyncio.gather(*uploads)

    run(scenario, **ONE_EACH)


def test_a_refusal_names_the_bytes_in_memory(run):
    photo = png(7, padding=700_000)

    async def scenario(far, proxy):
        far.opened.clear()
        first = asyncio.create_task(proxy.upload(photo))
        await eventually(lambda: far.batches)
        answer = await proxy.upload(photo)
        assert code(answer) == (503, "overloaded")
        await refused(proxy, "buffer_full", answer)
        assert await proxy.metric("mnist_buffered_bytes") > len(photo)
        far.opened.set()
        assert (await first).status == 200
        assert await proxy.metric("mnist_buffered_bytes") == 0
        assert (await proxy.upload(photo)).status == 200

    run(scenario, max_buffered_bytes=1024 * 1024)


def test_a_refusal_names_the_start(run, tmp_path):
    async def scenario():
        async with proxy(tmp_path, 9, ready=False) as one:
            answer = await one.upload(SMALL)
            assert code(answer) == (503, "not_ready")
            await refused(one, "starting", answer)

    asyncio.run(scenario())


def test_a_refusal_names_a_torchserve_that_is_away(tmp_path):
    async def scenario():
        async with far_end() as (_, port):
            manager = proxy(tmp_path, port)
            one = await manager.__aenter__()
        await eventually(lambda: one.health.state.value == "unreachable")
        answer = await one.upload(SMALL)
        assert code(answer) == (503, "not_ready")
        await refused(one, "torchserve_unreachable", answer)
        await manager.__aexit__(None, None, None)

    asyncio.run(scenario())


def test_the_bytes_of_every_upload_leave_the_memory(run):
    async def scenario(far, proxy):
        far.failures[OTHER] = 1000
        far.replies[THIRD] = 422, b'{"code": "undecodable_image", "message": "No."}'
        await asyncio.gather(
            *(proxy.upload(image) for image in (SMALL, PHOTO, OTHER, THIRD)),
            proxy.upload(SMALL, OTHER),
            fetch(proxy.port, "/api/mnist", *reversed(multipart(("form-data; name=a", b"x")))),
            fetch(proxy.port, "/api/mnist", b"x" * 100, {"Content-Type": "text/plain"}),
        )
        assert await proxy.metric("mnist_buffered_bytes") == 0

    run(scenario)


def test_a_client_that_leaves_frees_its_place_in_the_queue(run):
    async def scenario(far, proxy):
        far.opened.clear()
        first = asyncio.create_task(proxy.upload(SMALL))
        await eventually(lambda: far.batches)
        second = asyncio.create_task(proxy.upload(OTHER))
        await eventually(lambda: proxy.batchers[SizeClass.SMALL].queued == 1)
        second.cancel()
        await eventually(lambda: proxy.batchers[SizeClass.SMALL].queued == 0)
        far.opened.set()
        assert (await first).status == 200
        assert far.with_image(OTHER) == []
        await eventually(lambda: not proxy.app.in_flight)
        assert await proxy.metric("mnist_buffered_bytes") == 0

    run(scenario, small_in_flight=1)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "second"},
        {"Authorization": "Bearer first"},
        {"Authorization": "Bearer a-gateways-own", "X-API-Key": "first"},
        {"Authorization": "Bearer second", "X-API-Key": "wrong"},
    ],
)
def test_any_valid_key_opens(run, headers):
    async def scenario(far, proxy):
        assert (await proxy.upload(SMALL, headers=headers)).status == 200
        assert (await proxy.upload(SMALL, OTHER, headers=headers)).status == 200

    run(scenario, api_keys=("first", "second"))


def test_without_a_key_nothing_is_read(run):
    async def scenario(far, proxy):
        for answer in (await proxy.upload(SMALL), await proxy.upload(SMALL, OTHER, headers={"X-API-Key": "wrong"})):
            assert code(answer) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
        for path, kind in (("/api/mnist?details=what", "image/png"), ("/api/mnist", "text/plain")):
            assert code(await fetch(proxy.port, path, b"x", {"Content-Type": kind})) == (401, "unauthorized")
        assert far.batches == []
        for path in ("/livez", "/readyz", "/metrics", "/", "/openapi.json"):
            assert (await fetch(proxy.port, path, method="GET")).status == 200

    run(scenario, api_keys=("first",))
