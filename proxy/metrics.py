"""GET /metrics: what the service does, as Prometheus text.

each request and each trip -> counts and distributions in memory -> prometheus-client's text on scrape, with what is
true at that moment (docs/operations.md). The library's own counters and histograms lock on each call, which nobody
needs in one thread: counting a request took three times as long with them.
"""

import json
import platform
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Gauge, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics import disable_created_metrics
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy import VERSION
from proxy.errors import DeadlineExceeded, InternalError, ModelServerError, NotReady, Overloaded, ServiceError
from proxy.glance import Refusals
from proxy.lane import Lane
from proxy.request import Request, Response

disable_created_metrics()  # when each series began: a third of the text, and of no use here
SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
PICTURES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
FEARED = (InternalError, ModelServerError, Overloaded, NotReady, DeadlineExceeded)
Count = Callable[..., None]  # of an amount, and how many times it was seen
OTHER = "other"  # the endpoint of every unknown path: a label's values must not come from outside


class Metrics:
    """Counts requests and trips, and reads what is true at the moment."""

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        ProcessCollector(registry=r)
        Info("mnist_build", "What runs", registry=r).info({"version": VERSION, "python": platform.python_version()})
        self._requests = Counts("mnist_requests", "Responses", ["endpoint", "status", "code"], r).of
        self._bytes = Counts("mnist_received_bytes", "Bytes of the bodies read", ["endpoint"], r).of
        self._total = Distributions(
            "mnist_request_seconds", "From head to response, in seconds", "endpoint", SECONDS, r
        )
        self._queued = Distributions("mnist_queue_seconds", "Wait for a trip, in seconds", "", SECONDS, r).of("")
        self._waiting = Gauge("mnist_queue_pictures", "Pictures waiting for a trip", ["lane"], registry=r)
        self._under_way = Gauge("mnist_trips_under_way", "Trips under way", ["lane"], registry=r)
        self._trip = Distributions("mnist_trip_seconds", "To TorchServe and back, in seconds", "lane", SECONDS, r)
        self._aboard = Distributions("mnist_trip_pictures", "Pictures in a trip", "lane", PICTURES, r)
        self._of_endpoint: dict[str, Count] = {}
        self.endpoints((OTHER,))

    def endpoints(self, paths: Collection[str]) -> None:
        """Count these paths each by itself; all others are one."""
        for path in paths:
            self._of_endpoint[path] = self._total.of(path)
            self._bytes[path,] = 0
            # What alerts ask for is there from the start: of a series that appears no rate is known.
            for error in FEARED if path.startswith("/api/") else ():
                self._requests[path, error.status, error.code] = 0

    def lane(self, name: str, lane: Lane) -> None:
        """Count the trips of this lane, and show its queue."""
        self._waiting.labels(name).set_function(lambda: lane.waiting)
        self._under_way.labels(name).set_function(lambda: len(lane.under_way))
        pictures, seconds = self._aboard.of(name), self._trip.of(name)

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
        self._of_endpoint[endpoint](request.responded - request.received)
        self._requests[endpoint, response.status, request.code] += 1
        self._bytes[endpoint,] += request.size
        for upload in request.uploads:
            if upload.joined:  # not refused before
                self._queued((upload.left or request.responded) - upload.joined)

    def refusals(self, path: str, error: type[ServiceError]) -> Callable[[Refusals], None]:
        """What counts refusals at a glance."""
        requests, seconds, key = self._requests, self._of_endpoint[path], (path, error.status, error.code)

        def refused(refusals: Refusals) -> None:
            requests[key] += len(refusals)
            seconds(0.0, len(refusals))

        return refused

    async def endpoint(self, request: Request) -> Response:
        """GET /metrics"""
        return Response(200, generate_latest(self.registry), (("content-type", CONTENT_TYPE_PLAIN_0_0_4),))


class Counts(Collector):
    """Counters of one name, one for each combination of its labels' values.

    Args:
        name, about, labels: as Prometheus shows them.

    Attributes:
        of: the counts, by the labels' values.
    """

    def __init__(self, name: str, about: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._name, self._about, self._labels = name, about, labels
        self.of: Counter[tuple[str | int, ...]] = Counter()
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The counters as they are now."""
        family = CounterMetricFamily(self._name, self._about, labels=self._labels)
        for values, count in self.of.items():
            family.add_metric([*map(str, values)], count)
        yield family


class Distributions(Collector):
    """Histograms of one name, one for each value of one label.

    Args:
        name, about: as Prometheus shows them.
        label: its name, "" for a single histogram without any.
        bounds: upper bounds of the buckets, each included; infinity is added.
    """

    def __init__(self, name: str, about: str, label: str, bounds: Sequence[float], registry: CollectorRegistry) -> None:
        self._name, self._about, self._labels, self._bounds = name, about, [label] if label else [], bounds
        self._found: dict[str, tuple[list[int], list[float]]] = {}  # counts of the buckets, and the sum
        registry.register(self)

    def of(self, value: str) -> Count:
        """What counts an observation where the label has this value."""
        bounds, counts, total = self._bounds, [0] * (len(self._bounds) + 1), [0.0]
        self._found[value] = counts, total

        def observe(amount: float, times: int = 1) -> None:
            counts[bisect_left(bounds, amount)] += times
            total[0] += amount * times

        return observe

    def collect(self) -> Iterator[Metric]:
        """The histograms as they are now."""
        family = HistogramMetricFamily(self._name, self._about, labels=self._labels)
        for value, (counts, total) in self._found.items():
            buckets = list(zip([*map(str, map(float, self._bounds)), "+Inf"], accumulate(counts), strict=True))
            family.add_metric([value] if self._labels else [], buckets, total[0])
        yield family
