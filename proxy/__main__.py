"""`python -m proxy`: serve until SIGTERM or SIGINT, then finish the requests in flight and exit 0."""

import argparse
import asyncio
import gc
import logging
import signal
from collections.abc import Callable
from contextlib import closing
from functools import partial

import uvloop

from proxy import page
from proxy.admission import Admission, SizeClass
from proxy.app import App, Routes
from proxy.batcher import SWEEP_SECONDS, Batcher, Limits
from proxy.errors import Cause
from proxy.health import Health
from proxy.log import AccessLog, BackgroundHandler
from proxy.metrics import Metrics
from proxy.server import drain, granian, reap_forever
from proxy.settings import BadSetting, Settings, from_environment, table
from proxy.torchserve import TorchServe
from proxy.upload import Endpoints
from serve.listening import listen

log = logging.getLogger("proxy")
# Seconds after which a batch counts as lost. TorchServe drops the one that a worker is taking as it dies
# (Model.pollBatch is interrupted between two rows, and the first is dropped without an answer).
BATCH_TIMEOUT = 3.0


async def serve(settings: Settings) -> None:
    """Serve until told to stop, then drain."""
    listeners = listen(settings.host, settings.port)
    with closing(TorchServe(settings)) as torchserve, closing(AccessLog(settings.log_format)) as access_log:
        health = Health(settings, torchserve)
        batchers = make_batchers(settings, torchserve)
        app = application(settings, health, batchers, torchserve, access_log)
        servers = [granian(app, settings, listener, len(listeners)) for listener in listeners]
        sweeps = (
            app.sweep,
            access_log.flush,
            torchserve.follow_standby,
            *(batcher.sweep for batcher in batchers.values()),
        )
        periodic = health.probe_forever(), periodically(*sweeps), reap_forever(settings)
        tasks = [asyncio.create_task(each) for each in (*periodic, *(server.serve() for server in servers))]
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        collect_rarely()
        stopped = asyncio.create_task(stopping.wait())
        ended, _ = await asyncio.wait((stopped, *tasks), return_when=asyncio.FIRST_COMPLETED)
        await drain(settings, app, health, listeners)
        for server in servers:
            server.stop()  # type: ignore[no-untyped-call]
        for task in tasks[: len(periodic)]:
            task.cancel()
        await asyncio.wait(tasks, timeout=2)
        await asyncio.sleep(0.1)  # Granian's threads end a moment later; before, leaving the interpreter may abort it
        for task in ended:
            task.result()  # raises what ended one that should have gone on


def application(
    settings: Settings,
    health: Health,
    batchers: dict[SizeClass, Batcher],
    torchserve: TorchServe,
    access_log: AccessLog,
) -> App:
    """Everything that answers a request."""
    admission = Admission(settings, health, batchers)
    uploads = Endpoints(settings, admission)
    routes: Routes = {
        "/api/mnist": ("POST", uploads.predict),
        "/api/mnist/batch": ("POST", uploads.predict_batch),
        "/livez": ("GET", health.livez),
        "/readyz": ("GET", health.readyz),
    }
    metrics = Metrics((*routes, "/metrics"))  # the page's files are counted together
    routes = {**routes, "/metrics": ("GET", metrics.endpoint), **page.routes(settings, health)}
    app = App(routes, settings.cors_origins, (metrics.observe, access_log.observe))
    for size_class, batcher in batchers.items():
        metrics.batcher(size_class.value, batcher)
    metrics.health(health)
    metrics.gauge("mnist_buffered_bytes", "Bytes of bodies in memory", lambda: admission.buffered)
    metrics.gauge("mnist_requests_in_flight", "Requests without a response yet", lambda: len(app.in_flight))
    metrics.gauge("mnist_torchserve_port", "Port of the TorchServe that batches go to", lambda: torchserve.port)
    metrics.gauge("mnist_lost_log_lines", "Lines of the access log that could not be written", lambda: access_log.lost)
    return app


def make_batchers(settings: Settings, torchserve: TorchServe) -> dict[SizeClass, Batcher]:
    """One for each size class; isolated images share the large requests' workers, few at one time.

    Large images take longer, so fewer of them are answered in the time that a client waits: their queue is shorter.
    Their slots keep every worker busy: a batch for each, and one that waits for the next.
    """
    s, large_queue = settings, max(1, settings.queue_size // 3)
    small = Limits(s.batch_size, s.batch_bytes, s.small_in_flight, s.queue_size, BATCH_TIMEOUT)
    large = small._replace(max_in_flight=s.large_in_flight or s.ts_workers + 1, queue_size=large_queue)
    isolated = Limits(1, 0, s.isolated_in_flight, large_queue, s.deadline_seconds)
    to_small, to_large = partial(torchserve.predict, s.ts_small_model), partial(torchserve.predict, s.ts_large_model)
    return {
        SizeClass.SMALL: Batcher(to_small, Cause.SMALL_QUEUE_FULL, small),
        SizeClass.LARGE: Batcher(to_large, Cause.LARGE_QUEUE_FULL, large),
        SizeClass.ISOLATED: Batcher(to_large, Cause.ISOLATED_QUEUE_FULL, isolated),
    }


def collect_rarely() -> None:
    """Exclude what is there now from garbage collection and collect rarely: it took a fifth of the proxy's CPU time.

    A request leaves no reference cycles behind, so there is next to nothing to find.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


async def periodically(*sweeps: Callable[[], None]) -> None:
    """Call each of them every SWEEP_SECONDS, for ever."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        for sweep in sweeps:
            try:
                sweep()
            except Exception:
                log.exception("a periodic task failed")


def main() -> None:
    lines = [f"  {name:22} {about} [{default or 'none'}]" for name, default, about in table()]
    parser = argparse.ArgumentParser(
        prog="python -m proxy",
        description="Take images of digits over HTTP and forward them to TorchServe.",
        epilog="settings, all from the environment:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    errors = BackgroundHandler(descriptor=2)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", handlers=[errors])
    try:
        uvloop.run(serve(from_environment()))
    except BadSetting as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
