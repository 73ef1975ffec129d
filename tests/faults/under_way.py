"""Questions under way, for a fault to strike in the middle of them, and what is known of them.

It knows the account and the queue's records; it breaks nothing but by freezing a process.
"""

import asyncio
import contextlib
import signal
from asyncio.subprocess import Process
from collections.abc import Callable, Iterator
from typing import cast

from tests.end_to_end.stack import Stack
from tests.faults.account import Account, Ask
from tests.faults.slow_engine import STEP_S
from tests.faults.undisturbed import check_texts
from tests.wire.support import PREFIX, now_ms
from wire.jobs import Done, FinishReason
from wire.queue import JobRecord, JobState

LONG = 100
"""Tokens that an engine at a stroll needs three seconds for."""
STROLL_S = "0.03"
AMBLE_S = "0.06"
"""Twice as long, for tests that do something many times meanwhile."""
CRAWL_S = "0.3"
"""Nothing is finished while a test looks on, however loaded the machine."""
UNDER_WAY_TIMEOUT_S = 120.0
INDEXES = frozenset(
    (
        *("waiting", "ring", "retry", "lease", "count", "held", "own"),
        *("clock", "bell", "engines", "models", "marks"),
    )
)
"""All but the open jobs and their hashes, from which the others are made again."""
LOOK_INTERVAL_S = 0.1


async def start_slow_engine(
    stack: Stack, slots: int = 4, step_s: str = STROLL_S, **environment: str
) -> Process:
    """Start an engine that waits before each step; `environment` adds to its settings."""
    stack.programs["engine"] = "tests.faults.slow_engine"
    return await stack.start_engine(slots, **{STEP_S: step_s, **environment})


async def started(
    stack: Stack, slots: int = 4, step_s: str = STROLL_S, **environment: str
) -> tuple[Process, Process]:
    """Start a slow engine and a bot; `environment` adds to the settings of both."""
    engine = await start_slow_engine(stack, slots, step_s, **environment)
    return engine, await stack.start_bot(**environment)


async def ask_many(account: Account, stack: Stack, number: int, length: int = LONG) -> list[Ask]:
    """Let so many people ask for a text each; without a seed, so each attempt writes another."""
    users = [stack.sandbox.join(f"user {len(account.asks) + each}") for each in range(number)]
    return [await account.generate(user, f"A tale of {user.name}", length=length) for user in users]


async def running(
    stack: Stack, number: int, wanted: Callable[[JobRecord], bool] = lambda record: True
) -> list[JobRecord]:
    """Wait until so many wanted jobs run and have text, and return these."""
    async with asyncio.timeout(UNDER_WAY_TIMEOUT_S):
        while True:
            records = await stack.records()
            found = [record for record in records if is_running(record) and wanted(record)]
            if len(found) >= number:
                return found
            is_over = records and all(record.state is JobState.ENDED for record in records)
            assert not is_over, "all was over before the fault struck"
            await asyncio.sleep(LOOK_INTERVAL_S)


def is_running(record: JobRecord) -> bool:
    """Return whether an engine writes the job, and has shown some of it."""
    return record.state is JobState.RUNNING and bool(record.text)


def is_full(record: JobRecord) -> bool:
    """Return whether a text was written to its end."""
    outcome = record.outcome
    return isinstance(outcome, Done) and outcome.finish_reason is FinishReason.LENGTH


async def ended(stack: Stack, number: int) -> None:
    """Wait until so many jobs have ended, whether or not that is shown."""
    async with asyncio.timeout(UNDER_WAY_TIMEOUT_S):
        while sum(record.outcome is not None for record in await stack.records()) < number:
            await asyncio.sleep(LOOK_INTERVAL_S)


async def indexes(stack: Stack) -> list[str]:
    """Name the keys that are made from the open jobs and their hashes."""
    keys = cast("list[bytes]", await stack.redis.keys(f"{PREFIX}:*"))
    return sorted(name for key in keys if (name := key.decode()).split(":")[2] in INDEXES)


async def ticked(stack: Stack) -> None:
    """Wait until a program has run one of the queue's scripts; we run none ourselves."""
    asked_ms = await now_ms(stack.redis)
    async with asyncio.timeout(UNDER_WAY_TIMEOUT_S):
        while int(await stack.redis.get(f"{PREFIX}:clock") or 0) <= asked_ms:
            await asyncio.sleep(LOOK_INTERVAL_S)


@contextlib.contextmanager
def frozen(process: Process) -> Iterator[None]:
    """Freeze a process for a while, as a machine that hangs does."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


async def check_written(stack: Stack, *attempts: int) -> None:
    """Check that the full texts are those of a run without faults, and the attempts they took."""
    full = [record for record in await stack.records() if is_full(record)]
    check_texts(stack.models / stack.model_name, full)
    assert {record.attempt for record in full} <= set(attempts or (1,))
