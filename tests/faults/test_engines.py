"""Engines that die, freeze, end and come back, and the case in which nothing happens to them."""

import asyncio
from asyncio.subprocess import Process
from pathlib import Path

import pytest

from tests.end_to_end.stack import Stack
from tests.faults.account import Account, Fate
from tests.faults.slow_engine import POISON
from tests.faults.under_way import CRAWL_S, ask_many, frozen, running, start_slow_engine
from tests.faults.undisturbed import check_texts
from tests.wire.lossy_proxy import LossyProxy
from wire.jobs import ErrorCode, Failed
from wire.queue import JobRecord

PATIENCE_S = 240.0


async def attempts(stack: Stack) -> set[int]:
    """Say how often jobs were tried."""
    return {record.attempt for record in await stack.records()}


def is_of(record: JobRecord, process: Process) -> bool:
    """Say whether this process holds or held a job: an engine's name has its process id."""
    return f".{process.pid}." in (record.engine or "")


async def running_at(stack: Stack, process: Process) -> JobRecord:
    """Wait until an engine writes some job and has shown text of it."""
    return (await running(stack, 1, lambda record: is_of(record, process)))[0]


async def is_alive(stack: Stack, process: Process) -> None:
    """Wait for an engine's sign of life; one that had jobs writes what it has of them with it."""
    async with asyncio.timeout(PATIENCE_S):
        while not any(f".{process.pid}." in name for name in (await stack.queue.tick()).engines):
            await asyncio.sleep(0.05)


@pytest.mark.fault
async def test_01_without_a_fault_all_is_answered_by_first_attempts(
    stack: Stack, account: Account
) -> None:
    await stack.start_engine(slots=8)
    await stack.start_bot(OVID_MAX_UNFINISHED_PER_USER="20")
    users = [stack.sandbox.join(f"user {number}") for number in range(6)]
    for number in range(60):
        user = users[number % len(users)]
        if number % 2:
            await account.mention(user, f"Question {number}")
        else:
            await account.generate(user, f"Question {number}", length=20)
    assert await account.check() == {Fate.FULL: 60}
    assert await attempts(stack) == {1}


@pytest.mark.fault
async def test_02_what_a_killed_engine_was_writing_is_written_by_the_next(
    stack: Stack, account: Account, quick_model: Path
) -> None:
    doomed = await start_slow_engine(stack, 8, CRAWL_S)
    await stack.start_bot()
    await ask_many(account, stack, 16, length=100)
    struck = [record.job.job_id for record in await running(stack, 8)]
    await stack.kill(doomed)
    await stack.start_engine(slots=8)
    assert await account.check() == {Fate.FULL: 16}
    tries = {record.job.job_id: record.attempt for record in await stack.records()}
    assert {job_id for job_id, attempt in tries.items() if attempt == 2} == set(struck)
    assert set(tries.values()) == {1, 2}
    check_texts(quick_model, await stack.records())


@pytest.mark.fault
async def test_03_an_engine_that_wakes_after_its_lease_writes_nothing_more(
    stack: Stack, account: Account, quick_model: Path
) -> None:
    sleeper = await start_slow_engine(stack, 8, CRAWL_S)
    await stack.start_bot()
    asks = await ask_many(account, stack, 8, length=50)
    await running(stack, 8)
    with frozen(sleeper):
        second = await start_slow_engine(stack, 8)
        taken_over = await running_at(stack, second)
    await is_alive(stack, sleeper)
    # What it has claimed anew since then need not be waited for.
    assert await stack.terminate(sleeper) == 0
    assert await account.check() == {Fate.FULL: 8}
    assert await attempts(stack) == {2}
    (fought_over,) = [each for each in asks if each.job_id == taken_over.job.job_id]
    record = await account.record(fought_over)
    assert record is not None
    assert is_of(record, second)
    check_texts(quick_model, await stack.records())


async def test_08_jobs_whose_claim_lost_its_answer_are_handed_over_again(
    stack: Stack, account: Account
) -> None:
    async with LossyProxy(stack.redis_server.url).serve() as proxy:
        await stack.start_engine(slots=4, OVID_REDIS_URL=proxy.url)
        await stack.start_bot()
        # Only the answer to a claim brings an engine what it is to begin with.
        proxy.lose(2, holding=b"A tale of")
        await ask_many(account, stack, 6, length=40)
        assert await account.check() == {Fate.FULL: 6}
    assert proxy.num_lost == 2
    assert await attempts(stack) == {1}


@pytest.mark.fault
async def test_09_a_job_that_kills_its_engine_is_given_up_and_harms_nobody(
    stack: Stack, account: Account
) -> None:
    deaths = 0

    async def supervise() -> None:
        nonlocal deaths
        while True:
            engine = await start_slow_engine(stack, 8)
            await engine.wait()
            deaths += 1

    await stack.start_bot(OVID_MAX_UNFINISHED_PER_USER="20")
    people = [stack.sandbox.join(f"user {number}") for number in range(9)]
    poisoned = await account.generate(people[0], f"A cup of {POISON}", length=40)
    for number in range(40):
        user = people[1 + number % 8]
        await account.generate(user, f"Question {number}", length=20)
    async with asyncio.TaskGroup() as tasks:
        supervisor = tasks.create_task(supervise())
        fates = await account.settled(PATIENCE_S)
        supervisor.cancel()
    assert fates == {Fate.FULL: 40, Fate.ERROR: 1}, await account.explain()
    await account.check(Fate.ERROR)
    assert deaths == 3
    record = await account.record(poisoned)
    assert record is not None
    assert isinstance(record.outcome, Failed)
    assert (record.attempt, record.outcome.code) == (3, ErrorCode.ENGINE_LOST)
    assert len(account.messages(poisoned)) == 1
    others = [each.attempt for each in await stack.records() if each.attempt != 3]
    assert len(others) == 40
    assert 2 in others, "some were in one batch with it"


@pytest.mark.fault
async def test_16_engines_that_are_told_to_end_hand_their_jobs_on_unharmed(
    stack: Stack, account: Account, quick_model: Path
) -> None:
    leaving = await asyncio.gather(*(start_slow_engine(stack, 4, CRAWL_S) for _ in range(4)))
    await stack.start_bot()
    # As many as they have slots, so that each of them has some.
    await ask_many(account, stack, 16, length=100)
    for number, engine in enumerate(leaving, 1):
        if number == len(leaving):
            await stack.start_engine(slots=8)
        await running_at(stack, engine)
        assert await stack.terminate(engine) == 0
    assert await account.check() == {Fate.FULL: 16}
    assert await attempts(stack) == {1}
    check_texts(quick_model, await stack.records())
