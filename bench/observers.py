"""`python -m bench.observers`: what one request costs the proxy for metrics, log line and keys, in microseconds."""

import asyncio
import timeit

from http1 import Exchange
from proxy.access_log import as_json, as_text
from proxy.keys import Keys
from proxy.lane import Upload
from proxy.request import Request, Response

from proxy.metrics import Metrics

N, ROUNDS = 100_000, 5


def request() -> Request:
    """A request as it is when it has been answered."""
    headers = {"authorization": "Bearer " + "a" * 32, "x-request-id": "4bf92f3577b34da6"}
    it = Request(Exchange(None, "POST", "/api/mnist", headers))  # type: ignore[arg-type]
    upload = Upload((b"",), 0, 1.0)
    upload.joined, upload.left, upload.returned = it.received, it.received, it.received + 0.002
    it.size, it.uploads = 400, [upload]
    return it


def main() -> None:
    """Print the best of a few rounds for each."""
    asked, answer, metrics = request(), Response(200, b" " * 868), Metrics()
    metrics.endpoints(["/api/mnist"])
    keys = Keys(["a" * 32, "b" * 32])
    for name, work, times in (
        ("metrics", lambda: metrics.observe(asked, answer), N),
        ("a log line, JSON", lambda: as_json(asked, answer), N),
        ("a log line, text", lambda: as_text(asked, answer), N),
        ("two API keys", lambda: keys(asked), N),
        ("a scrape", lambda: asyncio.run(metrics.endpoint(asked)), 200),
    ):
        print(f"{name:18}{min(timeit.repeat(work, number=times, repeat=ROUNDS)) / times * 1e6:8.1f} us")


if __name__ == "__main__":
    main()
