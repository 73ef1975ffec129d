"""Faults of Redis and of what it holds. After each it answers again."""

import asyncio

from tests.faults.under_way import indexes
from tests.soak.stage import Stage
from tests.wire.support import PREFIX

LONGER_THAN_THE_LEASE_S = 12.0
FULL_BYTES = 1
LAST_SECOND_S = 1.0
INSIDE_A_RECORD_BYTES = 7


async def redis_killed(stage: Stage) -> None:
    """Kill Redis, which keeps an append-only file, and start it again."""
    await stage.redis_server.kill()
    await asyncio.sleep(stage.chance.uniform(0, 2))
    await stage.redis_server.restart()


async def redis_frozen(stage: Stage) -> None:
    """Freeze Redis for longer than the lease."""
    stage.redis_server.pause()
    await asyncio.sleep(LONGER_THAN_THE_LEASE_S)
    stage.redis_server.resume()


async def redis_down_for_long(stage: Stage) -> None:
    """Have Redis down for longer than the lease, the engines frozen while it comes back."""
    await stage.redis_server.kill()
    await asyncio.sleep(LONGER_THAN_THE_LEASE_S)
    with stage.frozen(stage.engines):
        await stage.redis_server.restart()
        await asyncio.sleep(1)


async def memory_full(stage: Stage) -> None:
    """Let Redis be out of memory for a while."""
    await stage.stack.redis.config_set("maxmemory", FULL_BYTES)
    await asyncio.sleep(stage.chance.uniform(3, 8))
    await stage.stack.redis.config_set("maxmemory", 0)


async def hints_deleted(stage: Stage) -> None:
    """Delete the bot's stream of hints."""
    await stage.stack.redis.delete(*await stage.stack.redis.keys(f"{PREFIX}:events:*"))


async def scripts_flushed(stage: Stage) -> None:
    """Let Redis forget the scripts."""
    await stage.stack.redis.script_flush()


async def indexes_destroyed(stage: Stage) -> None:
    """Delete about half of what can be made again from the jobs themselves."""
    for key in await indexes(stage.stack):
        if stage.chance.random() < 0.5:
            await stage.stack.redis.delete(key)


async def records_deleted(stage: Stage) -> None:
    """Delete the records of some jobs, as a wrong eviction policy does."""
    async with stage.silence():
        async with stage.exact_memory():
            for key in await stage.stack.redis.keys(f"{PREFIX}:job:*"):
                if stage.chance.random() < 0.3:
                    await stage.stack.redis.delete(key)
        await stage.told_of_loss()


async def redis_cut(stage: Stage) -> None:
    """Lose the last second, in the middle of a record, as when power fails."""
    async with stage.silence():
        keep_bytes = stage.redis_server.size_bytes + INSIDE_A_RECORD_BYTES
        await asyncio.sleep(LAST_SECOND_S)
        async with stage.exact_memory():
            await stage.redis_server.lose(keep_bytes)
        await stage.told_of_loss()


async def redis_emptied(stage: Stage) -> None:
    """Lose everything."""
    async with stage.silence():
        async with stage.exact_memory():
            await stage.redis_server.lose(0)
        await stage.told_of_loss()
