"""Metrics: what a request and a trip leave behind, and that nobody outside can make up series."""

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families
from proxy.lane import Lane, Upload
from proxy.request import Request, Response
from proxy.trip import Reply
from tests.test_lane import settled

from proxy import VERSION
from proxy.metrics import Metrics
from tests.exchanges import exchange_of


def request(path="/api/mnist", size=100, code=""):
    it = Request(exchange_of(path=path))
    it.size, it.code = size, code
    return it


def scraped(metrics):
    """(name, labels) -> value, as a scraper reads it."""
    response = asyncio.run(metrics.endpoint(request("/metrics")))
    assert response.status == 200
    assert response.headers[0][1].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.body.decode())
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples
    }


@pytest.fixture
def metrics():
    metrics = Metrics()
    metrics.endpoints(["/api/mnist"])
    return metrics


def outcome(status, code, endpoint="/api/mnist"):
    return "mnist_requests_total", ("code", code), ("endpoint", endpoint), ("status", status)


def test_requests_are_counted_by_endpoint_status_and_code(metrics):
    for _ in range(3):
        metrics.observe(request(), Response(200, b""))
    metrics.observe(request(code="undecodable_image"), Response(422, b""))
    seen = scraped(metrics)
    assert seen[outcome("200", "")] == 3
    assert seen[outcome("422", "undecodable_image")] == 1
    assert seen["mnist_received_bytes_total", ("endpoint", "/api/mnist")] == 400
    assert seen["mnist_request_seconds_count", ("endpoint", "/api/mnist")] == 4


def test_unknown_paths_share_one_series(metrics):
    before = len(scraped(metrics))
    for number in range(100):
        metrics.observe(request(f"/admin/{number}.php", 0, "not_found"), Response(404, b""))
    seen = scraped(metrics)
    assert seen[outcome("404", "not_found", "other")] == 100
    assert len(seen) - before == 1


def test_how_long_an_upload_waited_is_put_into_buckets(metrics):
    it = request()
    for seconds in (0.0, 0.0035, 20.0):
        upload = Upload((b"x",), 0, 0.0)
        upload.joined = 1.0
        upload.left = 1.0 + seconds
        it.uploads.append(upload)
    it.uploads.append(Upload((b"refused",), 0, 0.0))
    metrics.observe(it, Response(200, b""))
    seen = scraped(metrics)
    assert seen["mnist_queue_seconds_count",] == 3
    assert seen["mnist_queue_seconds_bucket", ("le", "0.003")] == 1
    assert seen["mnist_queue_seconds_bucket", ("le", "0.005")] == 2
    assert seen["mnist_queue_seconds_bucket", ("le", "10.0")] == 2
    assert seen["mnist_queue_seconds_sum",] == pytest.approx(20.0035)


def test_a_lanes_trips_and_queue_are_shown(metrics):
    async def two_trips():
        gate = asyncio.Event()

        async def carry(uploads):
            await gate.wait()
            return [Reply(200, b"{}") for _ in uploads]

        lane = Lane(carry, trips=1, pictures=64, size=1000, queue=100, patience=60)
        metrics.lane("small", lane)
        flights = [asyncio.create_task(lane.forward(Upload((b"x",), 0, 1e12)))]
        await settled()
        flights += [asyncio.create_task(lane.forward(Upload((b"x",), 0, 1e12))) for _ in range(3)]
        await settled()
        during = {family.name: family.samples for family in metrics.registry.collect()}
        gate.set()
        await asyncio.gather(*flights)
        return during

    during = asyncio.run(two_trips())
    assert during["mnist_queue_pictures"][0].value == 3
    assert during["mnist_trips_under_way"][0].value == 1
    seen = scraped(metrics)
    assert seen["mnist_trip_pictures_count", ("lane", "small")] == 2
    assert seen["mnist_trip_pictures_sum", ("lane", "small")] == 4
    assert seen["mnist_trip_pictures_bucket", ("lane", "small"), ("le", "1.0")] == 1
    assert seen["mnist_trip_seconds_count", ("lane", "small")] == 2


def test_what_runs_and_what_it_uses_is_shown(metrics):
    metrics.gauge("mnist_ready", "about", lambda: True)
    seen = scraped(metrics)
    assert any(name == "mnist_build_info" and ("version", VERSION) in labels for name, *labels in seen)
    assert seen["mnist_ready",] == 1
    assert seen["process_resident_memory_bytes",] > 1e6
    assert seen["process_open_fds",] > 2


def test_the_model_that_answers_is_shown_once_it_is_known(metrics):
    proof = [b"{}"]
    metrics.model(lambda: proof[0])
    assert not any(name == "mnist_model_info" for name, *_ in scraped(metrics))
    proof[0] = b'{"success": true, "details": {"model": {"name": "mnist", "version": "2.0", "sha256": "abc"}}}'
    assert ("mnist_model_info", ("name", "mnist"), ("sha256", "abc"), ("version", "2.0")) in scraped(metrics)


def test_what_alerts_ask_for_is_there_from_the_start(metrics):
    assert scraped(metrics)[outcome("503", "overloaded")] == 0
    assert scraped(metrics)[outcome("502", "model_server_error")] == 0
