"""`python -m bench.observers`: what metrics, log line and API keys cost the proxy for each request, in microseconds."""

import asyncio
import timeit
from types import SimpleNamespace

from proxy.__main__ import make_batchers
from proxy.admission import Admission
from proxy.app import Request, Response
from proxy.batcher import Item
from proxy.health import Health
from proxy.log import as_json, as_text
from proxy.metrics import Metrics
from proxy.settings import Settings
from proxy.torchserve import TorchServe

N, ROUNDS = 100_000, 5
KEYS = ("a" * 32, "b" * 32)


def request() -> Request:
    """A request as it is when it has been answered."""
    headers = {"authorization": f"Bearer {KEYS[0]}", "x-request-id": "4bf92f3577b34da6"}
    scope = SimpleNamespace(method="POST", path="/api/mnist", headers=headers, query_string="", http_version="1.1")
    it = Request(scope, None, None)  # type: ignore[arg-type]
    item = Item(b"", 0, 1.0)
    item.enqueued, item.dispatched, item.completed = it.received, it.received, it.received + 0.002
    it.buffered, it.items = 400, [item]
    return it


async def measure() -> None:
    """Print the best of a few rounds for each."""
    asked, response, metrics = request(), Response(200, b" " * 868), Metrics(["/api/mnist"])
    settings = Settings(api_keys=KEYS)
    torchserve = TorchServe(settings)
    admission = Admission(settings, Health(settings, torchserve), make_batchers(settings, torchserve))
    for name, work, times in (
        ("metrics", lambda: metrics.observe(asked, response), N),
        ("a log line, JSON", lambda: as_json(asked, response), N),
        ("a log line, text", lambda: as_text(asked, response), N),
        ("two API keys", lambda: admission.check_key(asked), N),
        ("a scrape", lambda: exhaust(metrics.endpoint(asked)), 200),
    ):
        print(f"{name:18}{min(timeit.repeat(work, number=times, repeat=ROUNDS)) / times * 1e6:8.1f} us")
    await torchserve.aclose()


def exhaust(coroutine) -> None:
    """Run a coroutine that awaits nothing."""
    try:
        coroutine.send(None)
    except StopIteration:
        return


def main() -> None:
    asyncio.run(measure())


if __name__ == "__main__":
    main()
