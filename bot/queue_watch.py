"""Watch the queue as long as the program runs, whether or not Discord can be reached.

Owns what the bot knows of it: how Redis is, how many engines live, what waits. The tick that
tells it also keeps everybody's deadlines.
"""

import asyncio
import logging
import time
from typing import Self

from redis.exceptions import RedisError

from bot.supervise import supervised
from wire.keys import TICK_INTERVAL_S
from wire.queue import JobQueue, QueueStats
from wire.redis_state import STALE_S, RedisWatch

_log = logging.getLogger(__name__)

OUTAGE_PAUSE_S = 1.0
TICKING = "ticking"


class QueueWatch:
    """Tick the queue. Use it as an async context manager: it watches until that is left.

    Attributes:
        queue: The jobs.
        redis: How Redis is.
    """

    def __init__(self, queue: JobQueue) -> None:
        self.redis = RedisWatch(_log)
        self.queue = queue
        # Until the first tick says better: nobody shall read of a fault that may not be one.
        self._num_engines = 1
        self._stats: QueueStats | None = None
        self._ticked_s = 0.0
        self._ticking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._ticking = asyncio.create_task(supervised(TICKING, self._tick))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)

    @property
    def is_running(self) -> bool:
        """Whether it still watches."""
        return self._ticking is not None and not self._ticking.done()

    @property
    def num_engines(self) -> int:
        """Live engines by the last word on them, however old that is."""
        return self._num_engines

    @property
    def stats(self) -> QueueStats | None:
        """The queue in numbers; None when nobody could say for a while."""
        return self._stats if time.monotonic() - self._ticked_s <= STALE_S else None

    def saw_engines(self, num_engines: int) -> None:
        """Note how many engines a submission found."""
        self._num_engines = num_engines

    async def _tick(self) -> None:
        while True:
            try:
                stats = await self.queue.tick()
            except RedisError as error:
                self.redis.failed(TICKING, error)
                await asyncio.sleep(OUTAGE_PAUSE_S)
                continue
            self.redis.wrote(TICKING, is_full=stats.is_full)
            self._stats, self._ticked_s = stats, time.monotonic()
            self._num_engines = stats.num_engines
            await asyncio.sleep(TICK_INTERVAL_S)
