"""Faults of bots and engines. Each leaves as many running as there were, or sees to it."""

import asyncio
from asyncio.subprocess import Process

from bot.follower import RECONCILE_INTERVAL_S
from tests.faults.slow_engine import POISON
from tests.soak.stage import Stage

PAST_THE_LEASE_S = (11.0, 14.0)
NUM_DEATHS_BY_POISON = 3
POISON_TIMEOUT_S = 180.0
LOOK_S = 0.1


async def engine_killed(stage: Stage) -> None:
    """Kill an engine; another starts."""
    await stage.kill(stage.chance.choice(stage.engines))
    await _pause(stage, 3)
    await stage.start_engine()


async def engine_frozen(stage: Stage) -> None:
    """Freeze an engine past its lease, while another lives, and let it go on."""
    with stage.frozen([stage.chance.choice(stage.engines)]):
        await asyncio.sleep(stage.chance.uniform(*PAST_THE_LEASE_S))


async def engine_ended(stage: Stage) -> None:
    """Ask an engine to end; another starts."""
    await stage.terminate(stage.chance.choice(stage.engines))
    await _pause(stage, 3)
    await stage.start_engine()


async def all_engines_killed(stage: Stage) -> None:
    """Kill all engines; as many start."""
    doomed = list(stage.engines)
    for engine in doomed:
        await stage.kill(engine)
    await _pause(stage, 3)
    for _ in doomed:
        await stage.start_engine()


async def poison(stage: Stage) -> None:
    """Ask for what kills every engine that writes it, until the queue gives it up."""
    user = stage.stack.sandbox.join("poisoner")
    await stage.account.mention(user, f"A cup of {POISON}")
    for _ in range(NUM_DEATHS_BY_POISON):
        async with asyncio.timeout(POISON_TIMEOUT_S):
            while not stage.bury():
                await asyncio.sleep(LOOK_S)
        await stage.start_engine()


async def bot_killed(stage: Stage) -> None:
    """Kill the bot and start it again."""
    async with stage.silence():
        await stage.kill(stage.bots[0])
        await _pause(stage, 3)
        await stage.start_bot()


async def bot_ended(stage: Stage) -> None:
    """Ask the bot to end and start it again."""
    async with stage.silence():
        await stage.terminate(stage.bots[0])
        await stage.start_bot()


async def second_bot(stage: Stage) -> None:
    """Let two bots run under the same name for a while, and kill one of them."""
    await stage.start_bot()
    await _pause(stage, 6)
    doomed: Process = stage.chance.choice(stage.bots)
    async with stage.silence():
        await stage.kill(doomed)
        # What the dead one showed the other takes up in its next round. Were all data lost before,
        # nobody would know of it: two faults at once.
        await asyncio.sleep(2 * RECONCILE_INTERVAL_S)


async def _pause(stage: Stage, at_most_s: float) -> None:
    await asyncio.sleep(stage.chance.uniform(0, at_most_s))
