"""Keep a background task alive: one that dies is logged and started again, never silent."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)

RESTART_MIN_S, RESTART_MAX_S = 0.5, 30.0


async def supervised(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` again whenever it ends or fails, after a pause that doubles with each failure.

    A run that lasts longer than the longest pause ends the doubling.
    """
    loop = asyncio.get_running_loop()
    pause_s = RESTART_MIN_S
    while True:
        began_s = loop.time()
        try:
            await work()
            _log.error("%s ended by itself; it starts again in %.1f s", name, pause_s)
        except Exception:  # noqa: BLE001  # this is the last place that can tell
            _log.exception("%s failed; it starts again in %.1f s", name, pause_s)
        if loop.time() - began_s > RESTART_MAX_S:
            pause_s = RESTART_MIN_S
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, RESTART_MAX_S)
