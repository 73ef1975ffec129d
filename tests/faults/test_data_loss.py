"""Redis that comes back with less than it had: nothing, a second less, indexes or jobs missing."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.redis_server import RedisServer
from sandbox.server import Sandbox
from tests.end_to_end.stack import Stack
from tests.faults.account import Account, Fate
from tests.faults.under_way import (
    AMBLE_S,
    CRAWL_S,
    LOOK_INTERVAL_S,
    UNDER_WAY_TIMEOUT_S,
    ask_many,
    check_written,
    ended,
    frozen,
    indexes,
    running,
    started,
)
from tests.wire.support import PREFIX
from wire.queue import JobState

FSYNC_INTERVAL_S = 1.0


@pytest.fixture
async def forgetful_stack(quick_model: Path, tmp_path: Path) -> AsyncIterator[Stack]:
    """As `stack`, but Redis keeps no file."""
    box = Sandbox(limits={})
    async with (
        RedisServer() as server,
        Stack(server, quick_model, sandbox=box, logs=tmp_path) as it,
    ):
        yield it


@pytest.mark.fault
async def test_14_when_redis_restarts_empty_everybody_is_told_to_ask_again(
    forgetful_stack: Stack,
) -> None:
    stack, account = forgetful_stack, Account(forgetful_stack)
    engine, _ = await started(stack, step_s=CRAWL_S)
    await ask_many(account, stack, 10)
    await running(stack, 4)
    # Or more might be written, and shown, than is remembered.
    with frozen(engine):
        await account.remember()
        await stack.redis_server.kill()
    await stack.redis_server.restart()
    assert await account.check(Fate.LOST) == {Fate.LOST: 10}
    after = await ask_many(account, stack, 4, length=5)
    await account.check(Fate.LOST)
    assert {await account.fate(ask) for ask in after} == {Fate.FULL}
    await check_written(stack)


async def growth(stack: Stack, number: int) -> tuple[Path, list[tuple[float, int]]]:
    """Watch the append-only file until so many jobs have ended.

    Returns:
        The part that is written to, and how many bytes it had when, by the loop's clock.
    """
    folder = str((await stack.redis.config_get("dir"))["dir"])
    # Before Redis 7 there was but one part, in the folder itself.
    [file] = [each for each in Path(folder).rglob("*.aof") if ".base." not in each.name]  # noqa: ASYNC240 - a small folder
    lengths = []
    async with asyncio.timeout(UNDER_WAY_TIMEOUT_S):
        while sum(record.state is JobState.ENDED for record in await stack.records()) < number:
            lengths.append((asyncio.get_running_loop().time(), file.stat().st_size))
            await asyncio.sleep(LOOK_INTERVAL_S)
    return file, lengths


def cut_inside_a_record(file: Path, length_bytes: int) -> None:
    """Shorten the file to about a length, so that its last record is not whole."""
    last_record = file.read_bytes().index(b"\r\n*", length_bytes) + 2
    os.truncate(file, last_record + 5)


@pytest.mark.fault
async def test_24_who_is_hit_by_the_loss_of_the_last_second_is_told_or_answered(
    stack: Stack, account: Account
) -> None:
    engine, _ = await started(stack)
    await ask_many(account, stack, 8)
    await running(stack, 4)
    file, lengths = await growth(stack, 4)
    late = await ask_many(account, stack, 2)
    async with asyncio.timeout(UNDER_WAY_TIMEOUT_S):
        while not all([await account.record(ask) for ask in late]):
            await asyncio.sleep(LOOK_INTERVAL_S)
    with frozen(engine):
        await account.remember()
        await stack.redis_server.kill()
    kept_s = lengths[-1][0] - FSYNC_INTERVAL_S
    kept = [length for when_s, length in lengths if when_s <= kept_s]
    cut_inside_a_record(file, max(kept, default=lengths[0][1]))
    await stack.redis_server.restart()
    assert [await stack.queue.snapshot(ask.job_id) for ask in late] == [None, None]
    fates = await account.check(Fate.LOST)
    assert fates[Fate.FULL] >= 4
    await check_written(stack, 1, 2)


@pytest.mark.fault
async def test_26_indexes_destroyed_four_times_are_made_again(
    stack: Stack, account: Account
) -> None:
    await started(stack, step_s=AMBLE_S)
    await ask_many(account, stack, 24)
    chance = random.Random(26)
    for num_ended in (0, 4, 8, 12):
        await ended(stack, num_ended)
        await running(stack, 1)
        there = await indexes(stack)
        await stack.redis.delete(*chance.sample(there, (len(there) + 1) // 2))
    assert sum(record.outcome is None for record in await stack.records()) >= 8
    assert await account.check() == {Fate.FULL: 24}
    await check_written(stack)


@pytest.mark.fault
async def test_26_programs_that_die_once_all_indexes_are_gone_are_missed_by_nobody(
    stack: Stack, account: Account
) -> None:
    engine, bot = await started(stack)
    await ask_many(account, stack, 8)
    await running(stack, 4)
    engine.send_signal(signal.SIGSTOP)
    await stack.redis.delete(*await indexes(stack))
    await stack.kill(bot)
    await stack.kill(engine)
    await started(stack)
    assert await account.check() == {Fate.FULL: 8}
    await check_written(stack, 1, 2)


@pytest.mark.fault
async def test_26_a_bot_that_dies_owing_last_words_shows_them_though_all_indexes_are_gone(
    stack: Stack, account: Account
) -> None:
    _, bot = await started(stack)
    await ask_many(account, stack, 4)
    await running(stack, 4)
    bot.send_signal(signal.SIGSTOP)
    await ended(stack, 4)
    await stack.redis.delete(*await indexes(stack))
    await stack.kill(bot)
    await stack.start_bot()
    assert await account.check() == {Fate.FULL: 4}
    await check_written(stack)


@pytest.mark.fault
async def test_27_who_is_hit_by_the_loss_of_job_hashes_is_told_and_nobody_else(
    stack: Stack, account: Account
) -> None:
    engine, _ = await started(stack)
    asks = await ask_many(account, stack, 12)
    await running(stack, 4)
    # Or what runs might end, and what waits begin, before it is lost.
    with frozen(engine):
        run = {record.job.job_id for record in await running(stack, 2)}
        await account.remember()
        began = [ask.job_id for ask in asks if ask.job_id in run][:2]
        waits = [r.job.job_id for r in await stack.records() if r.state is JobState.WAITING][:3]
        # Of one each the text is gone too, of the others it is kept.
        texts = [f"{PREFIX}:text:{job_id}" for job_id in (began[0], waits[0])]
        await stack.redis.delete(*texts, *(f"{PREFIX}:job:{each}" for each in began + waits))
    assert await account.check(Fate.LOST) == {Fate.FULL: 7, Fate.LOST: 5}
    told = {ask.job_id for ask in asks if await account.fate(ask) is Fate.LOST}
    assert told == {*began, *waits}
    await check_written(stack)


async def test_27_doctor_names_a_policy_that_throws_jobs_away(
    stack: Stack, capfd: pytest.CaptureFixture[str]
) -> None:
    await stack.redis.config_set("maxmemory", "1gb")
    await stack.redis.config_set("maxmemory-policy", "allkeys-lru")
    doctor = await stack.spawn("bot", "doctor")
    async with asyncio.timeout(60):
        assert await doctor.wait() != 0
    assert "maxmemory-policy is allkeys-lru" in capfd.readouterr().out
