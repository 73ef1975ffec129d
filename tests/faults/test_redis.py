"""Redis that is killed, frozen, full, or loses its scripts and streams, with programs at work."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from bot import replies
from tests.end_to_end.stack import Stack
from tests.faults.account import Account, Fate
from tests.faults.under_way import (
    AMBLE_S,
    UNDER_WAY_TIMEOUT_S,
    ask_many,
    check_written,
    ended,
    frozen,
    running,
    started,
    ticked,
)
from tests.wire.support import PREFIX
from wire import keys
from wire.queue import JobRecord

LEASE_S = keys.LEASE_MS / 1000
FROZEN_S = 12.0
BALLAST_BYTES = 4 << 20
LONGEST_PAUSE_S = 0.02


@pytest.mark.fault
async def test_05_three_kills_of_redis_with_a_file_lose_nothing(
    stack: Stack, account: Account
) -> None:
    await started(stack)
    await ask_many(account, stack, 12)
    lengths: dict[str, int] = {}

    def has_grown(record: JobRecord) -> bool:
        return len(record.text) > lengths.get(record.job.job_id, 0)

    for _ in range(3):
        lengths |= {
            record.job.job_id: len(record.text) for record in await running(stack, 3, has_grown)
        }
        await stack.redis_server.kill()
        await stack.redis_server.restart()
    assert await account.check() == {Fate.FULL: 12}
    await check_written(stack)


@pytest.mark.fault
async def test_06_leases_outlast_a_redis_that_was_away_for_longer(
    stack: Stack, account: Account
) -> None:
    engine, _ = await started(stack)
    await ask_many(account, stack, 8)
    await running(stack, 4)
    await stack.redis_server.kill()
    with frozen(engine):
        await asyncio.sleep(LEASE_S + 1)
        await stack.redis_server.restart()
        # It would take the jobs from the engine.
        await ticked(stack)
    assert await account.check() == {Fate.FULL: 8}
    await check_written(stack)


@pytest.mark.fault
@pytest.mark.parametrize("is_engine_frozen", [False, True])
async def test_07_leases_outlast_a_redis_that_is_frozen(
    stack: Stack, account: Account, *, is_engine_frozen: bool
) -> None:
    engine, _ = await started(stack)
    early = await ask_many(account, stack, 8)
    await running(stack, 4)
    with frozen(engine) if is_engine_frozen else contextlib.nullcontext():
        stack.redis_server.pause()
        [late] = await ask_many(account, stack, 1, length=5)
        await asyncio.sleep(FROZEN_S)
        stack.redis_server.resume()
        # It would take the jobs from an engine that has not spoken yet.
        await ticked(stack)
    # What could not be asked in time is refused, and must not be answered as well.
    await account.check(Fate.REFUSED)
    assert {await account.fate(ask) for ask in early} == {Fate.FULL}
    assert await account.fate(late) in {Fate.FULL, Fate.REFUSED}
    await check_written(stack)


async def fill(stack: Stack) -> None:
    """Fill Redis far beyond its bound with a key that is not the queue's: `ballast`."""
    used_bytes = (await stack.redis.info("memory"))["used_memory"]
    # What buffers take besides comes and goes, and must make no difference.
    await stack.redis.set("ballast", b"\0" * BALLAST_BYTES)
    await stack.redis.config_set("maxmemory", used_bytes + BALLAST_BYTES // 4)


@pytest.mark.fault
async def test_13_a_full_redis_refuses_what_is_new_and_ends_what_runs(
    stack: Stack, account: Account
) -> None:
    await started(stack)
    early = await ask_many(account, stack, 8)
    await running(stack, 4)
    await fill(stack)
    refused = await ask_many(account, stack, 2, length=5)
    assert await account.settled() == {Fate.FULL: len(early), Fate.REFUSED: len(refused)}
    refused.append(await account.mention(stack.sandbox.join("late"), "Is there room"))
    assert await account.settled() == {Fate.FULL: len(early), Fate.REFUSED: len(refused)}
    for ask in refused:
        assert [each.content for each in account.messages(ask)] == [replies.REDIS_FULL]
    await stack.redis.delete("ballast")
    after = await ask_many(account, stack, 4, length=5)
    await account.check(Fate.REFUSED)
    assert {await account.fate(ask) for ask in early + after} == {Fate.FULL}
    await check_written(stack)


@contextlib.asynccontextmanager
async def again_and_again(act: Callable[[], Awaitable[object]]) -> AsyncIterator[list[object]]:
    """Do something to Redis all the time; what is given holds the answers so far."""
    answers: list[object] = []
    pauses = random.Random(20)

    async def keep_on() -> None:
        while True:
            answers.append(await act())
            await asyncio.sleep(pauses.uniform(0, LONGEST_PAUSE_S))

    async with asyncio.TaskGroup() as tasks:
        acting = tasks.create_task(keep_on())
        yield answers
        acting.cancel()


@pytest.mark.fault
async def test_20_a_stream_deleted_while_the_bot_sleeps_is_not_missed(
    stack: Stack, account: Account
) -> None:
    stream = f"{PREFIX}:events:{stack.sandbox.bot_user.id}"
    engine, bot = await started(stack, slots=1)
    with contextlib.ExitStack() as waiting:
        waiting.enter_context(frozen(engine))
        asks = await ask_many(account, stack, 5, length=5)
        for ask in asks:
            await stack.sandbox.wait_for(
                lambda ask=ask: any(each.content for each in account.messages(ask)) or None,  # type: ignore[misc]
                UNDER_WAY_TIMEOUT_S,
            )
        with frozen(bot):
            # All but the first begin and end unheard: what was ever said of them is in the stream.
            waiting.close()
            await ended(stack, len(asks))
            assert await stack.redis.delete(stream)
    await account.check()
    # And from now on whenever the bot looks away for a moment.
    async with again_and_again(lambda: stack.redis.delete(stream)) as answers:
        await ask_many(account, stack, 8, length=20)
        assert await account.settled() == {Fate.FULL: 13}
        assert answers.count(1) > 20
    assert await account.check() == {Fate.FULL: 13}
    await check_written(stack)


@pytest.mark.fault
async def test_21_scripts_may_be_flushed_at_any_time(stack: Stack, account: Account) -> None:
    await started(stack, step_s=AMBLE_S)
    async with again_and_again(stack.redis.script_flush) as answers:
        await ask_many(account, stack, 12)
        assert await account.settled() == {Fate.FULL: 12}
        assert len(answers) > 100
    assert await account.check() == {Fate.FULL: 12}
    await check_written(stack)
