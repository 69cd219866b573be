"""GET /metrics: what the service does, as Prometheus text.

each request and each trip -> prometheus-client's counters and histograms; what is true at the moment is read on scrape.
A request costs 3 us of it (docs/operations.md); the library's children are kept, since looking one up takes longer than
counting.
"""

import json
import platform
from collections.abc import Callable, Collection, Iterable
from functools import cache
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics import disable_created_metrics
from prometheus_client.metrics_core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy import VERSION
from proxy.errors import DeadlineExceeded, InternalError, ModelServerError, NotReady, Overloaded
from proxy.lane import Lane
from proxy.request import Request, Response

disable_created_metrics()  # when each series began: a third of the text, and of no use here
SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
PICTURES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
FEARED = (InternalError, ModelServerError, Overloaded, NotReady, DeadlineExceeded)
Count = Callable[[float], None]
OTHER = "other"  # the endpoint of every unknown path: a label's values must not come from outside


class Metrics:
    """Counts requests and trips, and reads what is true at the moment."""

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        ProcessCollector(registry=r)
        Info("mnist_build", "What runs", registry=r).info({"version": VERSION, "python": platform.python_version()})
        self._requests = Counter("mnist_requests", "Responses", ["endpoint", "status", "code"], registry=r)
        self._bytes = Counter("mnist_received_bytes", "Bytes of the bodies read", ["endpoint"], registry=r)
        self._total = _seconds(r, "mnist_request_seconds", "From a request's head to its response", ["endpoint"])
        self._queued = _seconds(r, "mnist_queue_seconds", "Wait of an upload for its trip", []).observe
        self._waiting = Gauge("mnist_queue_pictures", "Pictures waiting for a trip", ["lane"], registry=r)
        self._under_way = Gauge("mnist_trips_under_way", "Trips under way", ["lane"], registry=r)
        self._trip = _seconds(r, "mnist_trip_seconds", "A trip to TorchServe and back", ["lane"])
        self._aboard = Histogram("mnist_trip_pictures", "Pictures in a trip", ["lane"], buckets=PICTURES, registry=r)
        self._of_endpoint: dict[str, tuple[Count, Count]] = {}
        self._of_outcome = cache(lambda *labels: self._requests.labels(*labels).inc)
        self.endpoints((OTHER,))

    def endpoints(self, paths: Collection[str]) -> None:
        """Count these paths each by itself; all others are one."""
        self._of_endpoint |= {path: (self._bytes.labels(path).inc, self._total.labels(path).observe) for path in paths}
        for path in paths:  # what alerts ask for is there from the start: of a series that appears no rate is known
            for error in FEARED if path.startswith("/api/") else ():
                self._requests.labels(path, error.status, error.code)

    def lane(self, name: str, lane: Lane) -> None:
        """Count the trips of this lane, and show its queue."""
        self._waiting.labels(name).set_function(lambda: lane.waiting)
        self._under_way.labels(name).set_function(lambda: len(lane.under_way))
        pictures, seconds = self._aboard.labels(name).observe, self._trip.labels(name).observe

        def on_trip(count: int, duration: float) -> None:
            pictures(count)
            seconds(duration)

        lane.on_trip = on_trip

    def gauge(self, name: str, about: str, read: Callable[[], float]) -> None:
        """Show what `read` says at each scrape."""
        Gauge(name, about, registry=self.registry).set_function(read)

    def model(self, read: Callable[[], bytes]) -> None:
        """Show which model answers, according to an answer with details that `read` gives."""

        class Model(Collector):
            def collect(self) -> Iterable[Metric]:
                told = json.loads(read()).get("details", {})
                yield InfoMetricFamily("mnist_model", "The model that answers", value=told.get("model"))

        self.registry.register(Model())

    def observe(self, request: Request, response: Response) -> None:
        """Count a request whose response is sent."""
        endpoint = request.path if request.path in self._of_endpoint else OTHER
        count_bytes, count_seconds = self._of_endpoint[endpoint]
        count_seconds(monotonic() - request.received)
        if request.size:
            count_bytes(request.size)
        for upload in request.uploads:
            if upload.joined:  # not refused before
                self._queued((upload.left or monotonic()) - upload.joined)
        self._of_outcome(endpoint, response.status, request.code)()

    async def endpoint(self, request: Request) -> Response:
        """GET /metrics"""
        return Response(200, generate_latest(self.registry), (("content-type", CONTENT_TYPE_PLAIN_0_0_4),))


def _seconds(registry: CollectorRegistry, name: str, about: str, labels: list[str]) -> Histogram:
    return Histogram(name, f"{about}, in seconds", labels, buckets=SECONDS, registry=registry)
