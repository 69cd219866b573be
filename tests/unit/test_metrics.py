"""Metrics: what a request and a batch leave behind, and that nobody outside can make up series."""

import asyncio
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy import VERSION
from proxy.app import Response
from proxy.batcher import Batcher, Item, Limits
from proxy.errors import Cause
from proxy.health import State
from proxy.metrics import Metrics
from tests.rsgi import request_of


def request(path="/api/mnist", size=100, code="", cause=Cause.NONE):
    it = request_of(path)
    it.buffered, it.code, it.cause = size, code, cause
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
    return Metrics(["/api/mnist"])


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


def test_refusals_are_counted_by_their_cause(metrics):
    for _ in range(2):
        metrics.observe(request(code="overloaded", cause=Cause.LARGE_QUEUE_FULL), Response(503, b""))
    metrics.observe(request(code="not_ready", cause=Cause.STARTING), Response(503, b""))
    metrics.observe(request(), Response(200, b""))
    seen = scraped(metrics)
    counted = {cause: seen["mnist_refusals_total", ("cause", cause.value)] for cause in Cause if cause.value}
    assert {cause: count for cause, count in counted.items() if count} == {
        Cause.LARGE_QUEUE_FULL: 2,
        Cause.STARTING: 1,
    }
    assert ("mnist_refusals_total", ("cause", "")) not in seen


def test_unknown_paths_share_one_series(metrics):
    before = len(scraped(metrics))
    for number in range(100):
        metrics.observe(request(f"/admin/{number}.php", 0, "not_found"), Response(404, b""))
    seen = scraped(metrics)
    assert seen[outcome("404", "not_found", "other")] == 100
    assert len(seen) - before == 1


def test_how_long_an_image_waited_is_put_into_buckets(metrics):
    it = request()
    for seconds in (0.0, 0.0035, 20.0):
        item = Item(b"x", 0, 0.0)
        item.enqueued, item.dispatched = 1.0, 1.0 + seconds
        it.items.append(item)
    metrics.observe(it, Response(200, b""))
    seen = scraped(metrics)
    assert seen["mnist_queue_seconds_count",] == 3
    assert seen["mnist_queue_seconds_bucket", ("le", "0.003")] == 1
    assert seen["mnist_queue_seconds_bucket", ("le", "0.005")] == 2
    assert seen["mnist_queue_seconds_bucket", ("le", "10.0")] == 2
    assert seen["mnist_queue_seconds_sum",] == pytest.approx(20.0035)


def test_a_batchers_batches_and_queue_are_shown(metrics):
    async def two_batches():
        opened = asyncio.Event()

        async def send(items):
            await opened.wait()
            return [b"{}" for _ in items]

        batcher = Batcher(send, Cause.SMALL_QUEUE_FULL, Limits(64, 1000, 1, 100, 60))
        metrics.batcher("small", batcher)
        items = [Item(b"x", 0, 1e12) for _ in range(4)]
        batcher.submit(items[:1])
        await asyncio.sleep(0)
        batcher.submit(items[1:])
        await asyncio.sleep(0)
        during = {family.name: family.samples for family in metrics.registry.collect()}
        opened.set()
        await asyncio.gather(*(item.result for item in items))
        await asyncio.sleep(0)
        return during

    during = asyncio.run(two_batches())
    assert during["mnist_queue_images"][0].value == 3
    assert during["mnist_batches_in_flight"][0].value == 1
    seen = scraped(metrics)
    small = "size_class", "small"
    assert seen["mnist_batch_images_count", small] == 2
    assert seen["mnist_batch_images_sum", small] == 4
    assert seen["mnist_batch_images_bucket", ("le", "1.0"), small] == 1
    assert seen["mnist_batch_seconds_count", small] == 2


def test_what_runs_and_what_it_uses_is_shown(metrics):
    metrics.gauge("mnist_ready", "about", lambda: True)
    seen = scraped(metrics)
    assert any(name == "mnist_build_info" and ("version", VERSION) in labels for name, *labels in seen)
    assert seen["mnist_ready",] == 1
    assert seen["process_resident_memory_bytes",] > 1e6
    assert seen["process_open_fds",] > 2


def health_of(state, details=b"{}"):
    return SimpleNamespace(state=state, details=details)


@pytest.mark.parametrize("state", State)
def test_exactly_one_state_is_shown(metrics, state):
    metrics.health(health_of(state))
    seen = scraped(metrics)
    assert {each: seen["mnist_state", ("state", each.value)] for each in State} == {
        each: each is state for each in State
    }
    assert seen["mnist_ready",] == (state is State.READY)


def test_the_model_that_answers_is_shown_once_it_is_known(metrics):
    health = health_of(State.READY)
    metrics.health(health)
    assert not any(name == "mnist_model_info" and labels for name, *labels in scraped(metrics))
    health.details = b'{"success": true, "details": {"model": {"name": "mnist", "version": "2.0", "sha256": "abc"}}}'
    assert ("mnist_model_info", ("name", "mnist"), ("sha256", "abc"), ("version", "2.0")) in scraped(metrics)


def test_what_alerts_ask_for_is_there_from_the_start(metrics):
    seen = scraped(metrics)
    assert seen[outcome("503", "overloaded")] == 0
    assert seen[outcome("502", "model_server_error")] == 0
    assert all(seen["mnist_refusals_total", ("cause", cause.value)] == 0 for cause in Cause if cause.value)
