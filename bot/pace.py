"""How often messages may be edited: each channel has one edit a second, for all replies in it.

Owns the times of the last edits; knows no message. Discord publishes its limits in headers only;
about one edit a second is what it bears, and the library waits out what is over it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

EDIT_INTERVAL_S = 1.0
MAX_LANES = 1000
"""Channels remembered before those that rest are forgotten."""


@dataclass(slots=True)
class _Lane:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    free_at_s: float = float("-inf")


class Pace:
    """The edit budget of every channel. Replies take turns in the order they came."""

    def __init__(
        self,
        interval_s: float = EDIT_INTERVAL_S,
        *,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.now_s = now_s
        self._sleep = sleep
        self._interval_s = interval_s
        self._lanes: dict[int, _Lane] = {}

    @asynccontextmanager
    async def turn(self, channel_id: int) -> AsyncIterator[None]:
        """Hold the channel's turn, from the moment it may be edited on.

        What to show is best decided inside, when it is about to be shown.
        """
        lane = self._lane(channel_id)
        async with lane.turn:
            await self._until_free(lane)
            yield

    async def before_edit(self, channel_id: int) -> None:
        """Wait until the channel may be edited, and count the edit."""
        lane = self._lane(channel_id)
        await self._until_free(lane)
        lane.free_at_s = self.now_s() + self._interval_s

    async def _until_free(self, lane: _Lane) -> None:
        while (wait_s := lane.free_at_s - self.now_s()) > 0:
            await self._sleep(wait_s)

    def _lane(self, channel_id: int) -> _Lane:
        if len(self._lanes) >= MAX_LANES and channel_id not in self._lanes:
            self._forget_resting_lanes()
        return self._lanes.setdefault(channel_id, _Lane())

    def _forget_resting_lanes(self) -> None:
        now_s = self.now_s()
        self._lanes = {
            channel_id: lane
            for channel_id, lane in self._lanes.items()
            if lane.turn.locked() or lane.free_at_s > now_s
        }
