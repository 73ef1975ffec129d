"""Which faults there are, and when the next one comes: two at once at most, each kind in turn.

Of two that strike together, one breaks a program or Redis, the other is Discord's or the wire's:
so somebody is always left to answer in the end.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence

from tests.soak import discord_faults as discord
from tests.soak import program_faults as program
from tests.soak import redis_faults as redis
from tests.soak.stage import Stage

Fault = Callable[[Stage], Awaitable[None]]

PROGRAMS: Sequence[Fault] = (
    program.engine_killed,
    program.engine_frozen,
    program.engine_ended,
    program.all_engines_killed,
    program.poison,
    program.bot_killed,
    program.bot_killed,
    program.bot_ended,
    program.second_bot,
)
LOSSES: Sequence[Fault] = (redis.records_deleted, redis.redis_cut, redis.redis_emptied)
"""After these a person may be told to ask again."""
REDIS: Sequence[Fault] = (
    redis.redis_killed,
    redis.redis_killed,
    redis.redis_frozen,
    redis.redis_down_for_long,
    redis.memory_full,
    redis.hints_deleted,
    redis.scripts_flushed,
    redis.indexes_destroyed,
    redis.indexes_destroyed,
    discord.session_lost,
    discord.session_dropped,
    *LOSSES,
)
DISCORD: Sequence[Fault] = (
    discord.answers_lost,
    discord.answers_lost,
    discord.server_errors,
    discord.rate_limited,
    discord.discord_slow,
    discord.events_repeated,
    discord.gateway_dropped,
    discord.gateway_moves,
    discord.gateway_invalid,
    discord.wire_lossy,
)
MEAN_PAUSE_S = 2.0


class Weather:
    """Makes faults.

    Attributes:
        counts: how often each has struck.
        spells: which fault lasted from when to when, by the monotonic clock.
    """

    def __init__(self, stage: Stage, say: Callable[[str], None]) -> None:
        self._stage = stage
        self._say = say
        self.counts: Counter[str] = Counter()
        self.spells: list[tuple[str, float, float]] = []

    async def storm(self, lasts_s: float, *, spares_programs: bool) -> None:
        """Let faults strike until the time is up; those that have begun come to their end."""
        ends_at_s = time.monotonic() + lasts_s
        main = REDIS if spares_programs else (*PROGRAMS, *REDIS)
        async with asyncio.TaskGroup() as tracks:
            for faults in (main, DISCORD):
                tracks.create_task(self._strike(faults, ends_at_s))

    async def _strike(self, faults: Sequence[Fault], ends_at_s: float) -> None:
        chance = self._stage.chance
        for fault in _in_turn(faults, chance):
            await asyncio.sleep(chance.expovariate(1 / MEAN_PAUSE_S))
            if time.monotonic() > ends_at_s:
                return
            self.counts[fault.__name__] += 1
            self._say(fault.__name__.replace("_", " "))
            began_s = time.monotonic()
            await fault(self._stage)
            self.spells.append((fault.__name__, began_s, time.monotonic()))


def _in_turn(faults: Sequence[Fault], chance: random.Random) -> Iterator[Fault]:
    """Give all in random order, and again, so that none is left out for long."""
    while True:
        yield from chance.sample(faults, len(faults))
