"""Try again: how long to wait before, and background tasks that are started anew when they die."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)

RESTART_MIN_S, RESTART_MAX_S = 0.5, 30.0


class Pauses:
    """How long to wait before each new try: twice as long as before, until one lasts.

    Args:
        min_s: After the first try, and after one that lasted longer than `max_s`.
        max_s: The longest.
    """

    def __init__(self, min_s: float, max_s: float) -> None:
        self._min_s = min_s
        self._max_s = max_s
        self._next_s = min_s

    def after(self, lasted_s: float = 0.0) -> float:
        """Return the pause after a try of this length, in seconds."""
        pause_s = self._min_s if lasted_s > self._max_s else self._next_s
        self._next_s = min(2 * pause_s, self._max_s)
        return pause_s


async def supervised(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` again whenever it ends or fails, after a pause that doubles with each failure."""
    loop = asyncio.get_running_loop()
    pauses = Pauses(RESTART_MIN_S, RESTART_MAX_S)
    while True:
        began_s = loop.time()
        try:
            await work()
            pause_s = pauses.after(loop.time() - began_s)
            _log.error("%s ended by itself; it starts again in %.1f s", name, pause_s)
        except Exception:  # noqa: BLE001  # this is the last place that can tell
            pause_s = pauses.after(loop.time() - began_s)
            _log.exception("%s failed; it starts again in %.1f s", name, pause_s)
        await asyncio.sleep(pause_s)
