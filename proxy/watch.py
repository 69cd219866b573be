"""What is looked at now and then, since a timer for each request would be a tenth of the proxy's work."""

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)
PERIOD = 0.1  # seconds between looks


async def watch(*looks: Callable[[], None]) -> None:
    """Call each of them for ever."""
    while True:
        await asyncio.sleep(PERIOD)
        for look in looks:
            try:
                look()
            except Exception:
                log.exception("cannot look at what is under way")
