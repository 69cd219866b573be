"""GET /metrics: what the service does, as Prometheus text.

each request and each batch -> prometheus-client's counters and histograms -> text on scrape, with the gauges of that
moment (docs/operations.md). To add a metric, create it in `Metrics.__init__` and set it in `observe`.
"""

import json
import platform
from collections.abc import Callable, Collection, Iterable
from functools import cache, partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics import disable_created_metrics
from prometheus_client.metrics_core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy import VERSION
from proxy.app import Request, Response
from proxy.batcher import Batcher
from proxy.errors import Cause, DeadlineExceeded, InternalError, ModelServerError, NotReady, Overloaded
from proxy.health import Health, State

disable_created_metrics()  # when each series began: a third of the text, and of no use here
SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ALERTED = (InternalError, ModelServerError, Overloaded, NotReady, DeadlineExceeded)
OTHER = "other"  # the endpoint of every unknown path: a label's values must not come from outside


class Metrics:
    """Counts requests and batches, and reads what is true at the moment.

    Args:
        endpoints: paths that are counted each by itself; all others are one.
    """

    def __init__(self, endpoints: Collection[str]) -> None:
        r = self.registry = CollectorRegistry()
        ProcessCollector(registry=r)
        Info("mnist_build", "What runs", registry=r).info({"version": VERSION, "python": platform.python_version()})
        requests = Counter("mnist_requests", "Responses", ["endpoint", "status", "code"], registry=r)
        refusals = Counter("mnist_refusals", "Refused requests, by what was missing", ["cause"], registry=r)
        received = Counter("mnist_received_bytes", "Bytes of the bodies read", ["endpoint"], registry=r)
        seconds = Histogram("mnist_request_seconds", "From head to response", ["endpoint"], buckets=SECONDS, registry=r)
        self._queue_seconds = Histogram("mnist_queue_seconds", "Wait for a batch", buckets=SECONDS, registry=r)
        label = ["size_class"]
        self._queued = Gauge("mnist_queue_images", "Images waiting for a batch", label, registry=r)
        self._in_flight = Gauge("mnist_batches_in_flight", "Batches not answered yet", label, registry=r)
        self._images = Histogram("mnist_batch_images", "Images in a batch", label, buckets=IMAGES, registry=r)
        self._seconds = Histogram("mnist_batch_seconds", "To TorchServe and back", label, buckets=SECONDS, registry=r)
        # Looking up a series in prometheus-client at each request would double what a request costs here.
        self._responses = cache(requests.labels)
        self._of_endpoint = {path: (seconds.labels(path), received.labels(path)) for path in (*endpoints, OTHER)}
        self._refused = {cause: refusals.labels(cause.value) for cause in Cause if cause is not Cause.NONE}
        # What alerts ask for is there from the start: Prometheus has no rate for a series that has just appeared.
        for path in endpoints:
            for error in ALERTED if path.startswith("/api/") else ():
                self._responses(path, error.status, error.code)

    def observe(self, request: Request, response: Response) -> None:
        """Count a request whose response is sent."""
        endpoint = request.path if request.path in self._of_endpoint else OTHER
        self._responses(endpoint, response.status, request.code).inc()
        seconds, received = self._of_endpoint[endpoint]
        seconds.observe(request.responded - request.received)
        received.inc(request.buffered)
        if request.cause is not Cause.NONE:
            self._refused[request.cause].inc()
        for item in request.items:
            self._queue_seconds.observe((item.dispatched or request.responded) - item.enqueued)

    def batcher(self, name: str, batcher: Batcher) -> None:
        """Count the batches of this size class, and show its queue."""
        self._queued.labels(name).set_function(lambda: batcher.queued)
        self._in_flight.labels(name).set_function(lambda: len(batcher.in_flight))
        images, seconds = self._images.labels(name), self._seconds.labels(name)

        def on_batch(size: int, took: float) -> None:
            images.observe(size)
            seconds.observe(took)

        batcher.on_batch = on_batch

    def health(self, health: Health) -> None:
        """Show the service's state, and which model answers."""
        self.gauge("mnist_ready", "Whether /readyz says 200", lambda: health.state is State.READY)
        state = Gauge("mnist_state", "1 for the state that the service is in", ["state"], registry=self.registry)
        for each in State:
            state.labels(each.value).set_function(partial(lambda each: health.state is each, each))

        class Model(Collector):
            def collect(self) -> Iterable[Metric]:
                details = json.loads(health.details).get("details", {})
                yield InfoMetricFamily("mnist_model", "The model that answers", value=details.get("model"))

        self.registry.register(Model())

    def gauge(self, name: str, about: str, read: Callable[[], float]) -> None:
        """Show what `read` says at each scrape."""
        Gauge(name, about, registry=self.registry).set_function(read)

    async def endpoint(self, request: Request) -> Response:
        """GET /metrics"""
        return Response(200, generate_latest(self.registry), (("content-type", CONTENT_TYPE_PLAIN_0_0_4),))
