"""`python -m proxy`: serve until SIGTERM or SIGINT, then finish what was admitted and exit 0."""

import argparse
import asyncio
import atexit
import gc
import logging
import signal
from contextlib import aclosing
from functools import partial
from time import monotonic

import uvloop

from http1 import Server
from proxy import openapi, page
from proxy.access_log import AccessLog
from proxy.api import Api
from proxy.app import App, Gates
from proxy.batch import Batch
from proxy.cors import Cors
from proxy.errors import Overloaded
from proxy.glance import PATH, Glance
from proxy.keys import Keys
from proxy.listening import listen
from proxy.metrics import Metrics
from proxy.predictor import Predictor
from proxy.readiness import Readiness, livez
from proxy.request import Routes
from proxy.settings import BadSetting, Settings, from_environment, table
from proxy.torchserve import TorchServe
from proxy.upstream import Upstream
from proxy.watch import watch

log = logging.getLogger("proxy")


async def serve(settings: Settings) -> None:
    """Serve until told to stop, then drain: /readyz says so first, admitted requests are answered, none is taken."""
    async with aclosing(TorchServe(settings)) as torchserve:
        predictor = Predictor(settings, torchserve)
        readiness = Readiness(settings, torchserve)
        app, glance, access_log = application(settings, predictor, torchserve.upstream, readiness)
        server = Server(app, glance=glance)
        lanes = predictor.small, predictor.bulk, predictor.alone
        looks = server.look, glance.look, access_log.look, torchserve.upstream.look, *(lane.look for lane in lanes)
        watching = [asyncio.create_task(each) for each in (readiness.watch(), watch(*looks))]
        server.take(*listen(settings.host, settings.port))
        told = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, told.set)
        collect_rarely()
        await told.wait()
        readiness.draining = True
        await asyncio.sleep(settings.drain_seconds)
        readiness.closed = True
        await _idle(app, settings.grace_seconds)
        await server.stop()
        for task in watching:
            task.cancel()


def application(
    settings: Settings, predictor: Predictor, upstream: Upstream, readiness: Readiness
) -> tuple[App, Glance, AccessLog]:
    """The way of an upload, and around it what may be left out."""
    api = Api(settings, predictor, readiness)
    batch = Batch(settings, api)
    keys = [Keys(settings.api_keys)] if settings.api_keys else []
    metrics, cors, access_log = Metrics(), Cors(settings.cors_origins), AccessLog(settings.log_format)
    own: Routes = {
        PATH: {"POST": api},
        "/api/mnist/batch": {"POST": batch},
        "/livez": {"GET": livez},
        "/readyz": {"GET": readiness.readyz},
        "/metrics": {"GET": metrics.endpoint},
    }
    metrics.endpoints(own)  # the page's many files are one endpoint more: the other
    routes = cors.completed({**own, **page.routes(openapi.document(settings))})
    metrics.lane("small", predictor.small)
    metrics.lane("bulk", predictor.bulk)
    metrics.lane("alone", predictor.alone)
    metrics.model(lambda: readiness.proof)
    metrics.gauge("mnist_ready", "Whether /readyz says 200", lambda: readiness.ready)
    metrics.gauge("mnist_torchserve_port", "Port of the TorchServe that trips go to", lambda: upstream.address[1])
    metrics.gauge("mnist_held_bytes", "Bytes of the uploads being read or answered", lambda: api.held)
    metrics.gauge("mnist_lost_log_lines", "Lines of the access log that could not be written", lambda: access_log.lost)
    metrics.gauge("mnist_requests_under_way", "Requests being answered", lambda: len(app.open))
    gates: Gates = {
        api: (partial(api.admit, predictor.small), *keys),
        batch: (partial(api.admit, predictor.bulk), *keys),
    }
    app = App(routes, cors, gates, (metrics.observe, *access_log.observers))
    tally = metrics.refusals(PATH, Overloaded), *access_log.refusals
    glance = Glance(partial(api.overloaded, predictor.small), cors.headers({}), tally)
    atexit.register(access_log.close)
    atexit.register(glance.look)  # called first
    return app, glance, access_log


def collect_rarely() -> None:
    """What is there now stays; the collector looks only at what comes later, and seldom: a fifth of the proxy's time.

    The way of an upload leaves no cycles behind, so there is next to nothing to find.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


async def _idle(app: App, seconds: float) -> None:
    """Wait until no request is open, but not longer than `seconds`."""
    end = monotonic() + seconds
    await asyncio.sleep(0.02)  # what was admitted last is begun
    while app.open and monotonic() < end:
        await asyncio.sleep(0.02)
    if app.open:
        log.warning("%d requests were still open when the time to drain was over", len(app.open))


def main() -> None:
    lines = [f"  {name:22} {about} [{default or 'none'}]" for name, default, about in table()]
    parser = argparse.ArgumentParser(
        prog="python -m proxy",
        description="Take pictures of digits over HTTP and forward them to TorchServe.",
        epilog="settings, all from the environment:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        uvloop.run(serve(from_environment()))
    except BadSetting as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
