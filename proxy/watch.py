"""What is looked at now and then, since a timer for each request would be a tenth of the proxy's work."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from math import inf
from time import monotonic

from proxy.request import Request

log = logging.getLogger(__name__)
PERIOD = 0.1  # seconds between looks
PATIENCE = 0.5  # seconds until a waiting request is watched for its client's leaving; watching every one costs 70 us


async def watch(*looks: Callable[[], None]) -> None:
    """Call each of them for ever."""
    while True:
        await asyncio.sleep(PERIOD)
        for look in looks:
            try:
                look()
            except Exception:
                log.exception("cannot look at what is under way")


def look_at_clients(requests: Iterable[Request]) -> None:
    """End the requests whose clients are too slow, and those whose clients have left."""
    now = monotonic()
    for request in requests:
        if now > request.due:
            request.late, request.due = True, inf
            request.task.cancel()
        elif not request.watched and now > request.received + PATIENCE:
            request.watched = True
            _await_leaving(request)


def _await_leaving(request: Request) -> None:
    """Cancel the request's task when its client leaves, so that its place in the queue is free again at once."""

    async def leave() -> None:
        await request.protocol.client_disconnect()
        request.task.cancel()

    watching = asyncio.ensure_future(leave())
    request.task.add_done_callback(lambda _: watching.cancel())
