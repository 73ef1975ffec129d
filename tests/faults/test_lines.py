"""More questions than there is room for: fair turns, bounds, and a sentence for everybody else."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import pytest

from sandbox.model import User
from tests.end_to_end.stack import Stack
from tests.faults.account import Account, Ask, Fate
from tests.faults.under_way import LOOK_INTERVAL_S, check_written, start_slow_engine, started
from tests.wire.support import PREFIX

FLOOD, FLOOD_BOUND, NUM_CHANNELS = 120, 40, 12
"""Edits are paced for each channel apart, so the flood goes through several."""
NUM_EACH = 4
"""Questions of everybody else."""
SHORT = 8
TAKE_IN_TIMEOUT_S = 90.0
CLOCK_STEP_MS = 5
"""Within one call to Redis its clocks may differ by so much."""


@dataclass(frozen=True, slots=True)
class Life:
    """When a job came, first began and ended, by Redis's clock in ms."""

    user_id: str
    created_ms: int
    started_ms: int
    ended_ms: int


async def lives(stack: Stack) -> dict[str, Life]:
    """Read from Redis when each admitted job came, began and ended, by job id."""
    entries = await stack.redis.xrange(f"{PREFIX}:events:{stack.sandbox.bot_user.id}")
    times: dict[tuple[str, str], int] = {}
    for entry_id, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", entries):
        event = (fields[b"job"].decode(), fields[b"kind"].decode())
        times.setdefault(event, int(entry_id.partition(b"-")[0]))
    found = {}
    for record in await stack.records():
        job_id = record.job.job_id
        created = await stack.redis.hget(f"{PREFIX}:job:{job_id}", "created")
        spans = (times[job_id, "started"], times[job_id, "ended"])
        found[job_id] = Life(record.job.user_id, int(created or 0), *spans)
    return found


def most_at_once(spans: Iterable[tuple[int, int]]) -> int:
    """Count how many spans of time overlap at most."""
    steps = [step for begin, end in spans for step in ((begin, 1), (end - CLOCK_STEP_MS, -1))]
    most = now = 0
    for _, change in sorted(steps):
        now += change
        most = max(most, now)
    return most


@pytest.mark.fault
async def test_18_a_flood_is_bounded_and_holds_nobody_else_up(
    stack: Stack, account: Account
) -> None:
    # With one slot whoever comes first is served first, but for the turns that users take.
    await started(stack, slots=1, OVID_MAX_UNFINISHED_PER_USER=str(FLOOD_BOUND))
    box, flooder = stack.sandbox, stack.sandbox.join("flooder")
    channels = [box.open_channel(f"flood {number}") for number in range(NUM_CHANNELS)]
    flood = [
        await account.generate(flooder, "More", channels[number % NUM_CHANNELS], length=SHORT)
        for number in range(FLOOD)
    ]
    async with asyncio.timeout(TAKE_IN_TIMEOUT_S):
        while (await stack.queue.tick()).num_waiting < FLOOD_BOUND // 2:
            await asyncio.sleep(LOOK_INTERVAL_S)
    others = [box.join("first"), box.join("second")]
    asks = [await account.generate(user, "Me too", length=SHORT) for user in others * NUM_EACH]
    fates = await account.check(Fate.REFUSED)
    assert {await account.fate(ask) for ask in asks} == {Fate.FULL}
    assert fates[Fate.REFUSED] > 0
    await everybody_is_told(account, flood, f"Your last {FLOOD_BOUND} requests are not done yet")
    known = await lives(stack)
    of_flood = [known[ask.job_id] for ask in flood if ask.job_id in known]
    assert most_at_once((each.created_ms, each.ended_ms) for each in of_flood) <= FLOOD_BOUND
    # Each of the flood's turns is followed by one of everybody else, however long a turn takes.
    for ask in asks:
        mine = known[ask.job_id]
        overtaken_by = [
            each for each in of_flood if mine.created_ms < each.started_ms <= mine.started_ms
        ]
        assert len(overtaken_by) <= NUM_EACH + 1
    began_ms = min(each.created_ms for each in of_flood)
    flood_ms = max(each.ended_ms for each in of_flood) - began_ms
    others_ms = max(known[ask.job_id].ended_ms for ask in asks) - began_ms
    assert others_ms < flood_ms / 2
    await check_written(stack)


async def ask_at_once(account: Account, stack: Stack, users: Iterable[User]) -> None:
    """Let these people ask, each in a channel of its own, and wait until all is taken in."""
    box = stack.sandbox
    for user in users:
        channel = box.open_channel(f"question {len(account.asks)}")
        await account.generate(user, "And I", channel, length=5)
    async with asyncio.timeout(TAKE_IN_TIMEOUT_S):
        while not all([await is_taken_in(account, ask) for ask in account.asks]):
            await asyncio.sleep(LOOK_INTERVAL_S)


async def is_taken_in(account: Account, ask: Ask) -> bool:
    """Return whether there is a job for it, or a sentence."""
    is_answered = any(message.content for message in account.messages(ask))
    return is_answered or await account.record(ask) is not None


@pytest.mark.fault
async def test_19_past_both_bounds_everybody_else_is_refused_with_a_sentence(
    stack: Stack, account: Account
) -> None:
    bounds = {"OVID_MAX_WAITING": "20", "OVID_MAX_UNFINISHED_PER_USER": "6"}
    await stack.start_bot(**bounds)
    users = [stack.sandbox.join(f"user {number}") for number in range(10)]
    # While nothing begins: three of them get all that one may have, and the fourth the rest.
    for user in users[:5]:
        await ask_at_once(account, stack, [user] * 10)
    early = list(account.asks)
    await start_slow_engine(stack)
    await ask_at_once(account, stack, users[5:] * 10)
    await account.check(Fate.REFUSED)
    assert len(account.asks) == 100
    admitted = [ask for ask in early if await account.fate(ask) is Fate.FULL]
    assert Counter(ask.user for ask in admitted) == dict(zip(users, (6, 6, 6, 2), strict=False))
    await everybody_is_told(
        account, account.asks, "Your last 6 requests are not done yet", "The line is full: 20 "
    )
    known = (await lives(stack)).values()
    assert most_at_once((each.created_ms, each.started_ms) for each in known) <= 20
    for user in users:
        mine = [each for each in known if each.user_id == str(user.id)]
        assert most_at_once((each.created_ms, each.ended_ms) for each in mine) <= 6
    await check_written(stack)


async def everybody_is_told(account: Account, asks: list[Ask], *sentences: str) -> None:
    """Check that each refusal gives one of these reasons, and each reason is given."""
    given = set()
    for ask in asks:
        if await account.fate(ask) is Fate.REFUSED:
            [message] = account.messages(ask)
            [said] = [each for each in sentences if each in message.content]
            given.add(said)
    assert given == set(sentences)
