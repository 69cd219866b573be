"""`python -m bench.observers`: what one request costs the proxy for metrics, log line and keys, in microseconds."""

import asyncio
import timeit
from types import SimpleNamespace

from proxy.admission import Admission, SizeClass
from proxy.app import Request, Response
from proxy.batcher import Item
from proxy.log import as_json
from proxy.metrics import Metrics
from proxy.settings import Settings

N, ROUNDS = 100_000, 5


def request() -> Request:
    """A request as it is when it has been answered."""
    headers = {"authorization": "Bearer " + "a" * 32, "x-request-id": "4bf92f3577b34da6"}
    scope = SimpleNamespace(method="POST", path="/api/mnist", query_string="", http_version="1.1", headers=headers)
    it = Request(scope, None, None)  # type: ignore[arg-type]
    item = Item(b"", 0, 1.0)
    item.enqueued = item.dispatched = it.received
    item.completed = it.responded = it.received + 0.002
    it.buffered, it.items = 400, [item]
    return it


def main() -> None:
    """Print the best of a few rounds for each."""
    asked, answer, metrics = request(), Response(200, b" " * 868), Metrics(["/api/mnist"])
    admission = Admission(Settings(api_keys=("a" * 32, "b" * 32)), None, dict.fromkeys(SizeClass))  # type: ignore[arg-type]
    for name, work, times in (
        ("metrics", lambda: metrics.observe(asked, answer), N),
        ("a log line", lambda: as_json(asked, answer), N),
        ("two API keys", lambda: admission.check_key(asked), N),
        ("a scrape", lambda: asyncio.run(metrics.endpoint(asked)), 200),
    ):
        print(f"{name:18}{min(timeit.repeat(work, number=times, repeat=ROUNDS)) / times * 1e6:8.1f} us")


if __name__ == "__main__":
    main()
