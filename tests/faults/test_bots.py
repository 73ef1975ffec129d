"""Bots that die and come back, two of them at once, and what bots say when no engine writes."""

import asyncio
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot import replies
from bot.origin import nonce
from sandbox.model import Message
from sandbox.redis_server import RedisServer
from sandbox.server import Sandbox
from sandbox.world import NONCE_MEMORY_S, Event
from tests.end_to_end.stack import REPLY_TIMEOUT_S, Stack, check_labelled
from tests.faults.account import Account, Ask, Fate
from tests.faults.hasty_bot import INTERACTION_DEADLINE_S, MESSAGE_DEADLINE_S
from tests.faults.slow_engine import STEP_S
from tests.faults.under_way import AMBLE_S, ended, frozen, running
from wire.jobs import ErrorCode, Failed

STROLL = {STEP_S: "0.02"}
AMBLE = {STEP_S: AMBLE_S}
CRAWL = {STEP_S: "0.3"}
ROOMY = {"OVID_MAX_UNFINISHED_PER_USER": "20"}
ROUNDING_S = 0.01
"""Deadlines are kept in whole milliseconds."""


class Clock:
    """The local Discord's clock, which can be put forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def stack(
    own_redis_server: RedisServer, quick_model: Path, tmp_path: Path, clock: Clock
) -> AsyncIterator[Stack]:
    """As for all faults, with engines that are as slow as each test starts them."""
    box = Sandbox(limits={}, clock=clock)
    async with Stack(own_redis_server, quick_model, sandbox=box, logs=tmp_path) as stack:
        stack.programs["engine"] = "tests.faults.slow_engine"
        yield stack


async def shown(account: Account, stack: Stack, ask: Ask) -> Message:
    """Wait until a message answers, and return it."""
    return await stack.sandbox.wait_for(
        lambda: next((each for each in account.messages(ask) if each.content), None),
        REPLY_TIMEOUT_S,
    )


async def grown(stack: Stack, message: Message, num_revisions: int) -> None:
    """Wait until a message has said more things than so many."""
    await stack.sandbox.wait_for(
        lambda: len(message.revisions) > num_revisions or None, REPLY_TIMEOUT_S
    )


@pytest.mark.fault
async def test_04_a_bot_killed_four_times_goes_on_in_the_messages_that_stand(
    stack: Stack, account: Account
) -> None:
    await stack.start_engine(slots=8, **AMBLE)
    bot = await stack.start_bot()
    stood: dict[Ask, Message] = {}
    for number in range(4):
        user, other = (stack.sandbox.join(f"{name} {number}") for name in ("user", "other"))
        fresh = [
            await account.mention(user, "A long story"),
            await account.generate(other, "A long story", length=150),
        ]
        stood |= {ask: await shown(account, stack, ask) for ask in fresh}
        unfinished = [(stood[ask], len(stood[ask].revisions)) for ask in fresh]
        await stack.kill(bot)
        bot = await stack.start_bot()
        for message, num_revisions in unfinished:
            await grown(stack, message, num_revisions)
    assert await account.check() == {Fate.FULL: 8}
    for ask, message in stood.items():
        assert account.messages(ask)[0] is message
        check_labelled(message)


class Assassin:
    """Kills a bot in the moment of a post: its answer is not sent, so nothing can be noted."""

    def __init__(self, stack: Stack) -> None:
        self._victim: Process | None = None
        self._nonce = ""
        stack.sandbox.world.listen(self._look)

    def wait_for(self, bot: Process, ask: Ask, part: int) -> None:
        """Kill the bot when it posts this part of the reply to a question that was just asked."""
        self._victim, self._nonce = bot, nonce(ask.job_id, part)

    def _look(self, event: Event) -> None:
        post = event.subject if event.name == "MESSAGE_CREATE" else None
        if self._victim and isinstance(post, Message) and post.nonce == self._nonce:
            self._victim.kill()
            self._victim = None


@pytest.mark.fault
async def test_12_a_bot_killed_before_it_notes_its_post_finds_it_again(
    stack: Stack, account: Account, clock: Clock
) -> None:
    assassin = Assassin(stack)
    await stack.start_engine(slots=8)
    bot = await stack.start_bot()
    for number, is_nonce_forgotten in enumerate((False, True)):
        ask = await account.mention(stack.sandbox.join(f"user {number}"), "A short story")
        assassin.wait_for(bot, ask, part=0)
        await bot.wait()
        clock.ahead_s += NONCE_MEMORY_S if is_nonce_forgotten else 0
        bot = await stack.start_bot()
        assert await account.check() == {Fate.FULL: number + 1}


@pytest.mark.fault
@pytest.mark.parametrize("is_nonce_forgotten", [False, True])
async def test_12_a_bot_killed_at_any_part_of_a_long_reply_finds_all_parts_again(
    stack: Stack, account: Account, clock: Clock, *, is_nonce_forgotten: bool
) -> None:
    assassin = Assassin(stack)
    await stack.start_engine(slots=8)
    bot = await stack.start_bot()
    for number, part in enumerate((1, 2)):
        # Shown when the whole text is there, its middle parts bear no button.
        gate = stack.sandbox.faults.hold("PATCH /webhooks/*")
        user = stack.sandbox.join(f"user {number}")
        ask = await account.generate(user, "A long story", length=1000, seed=12)
        assassin.wait_for(bot, ask, part)
        await ended(stack, number + 1)
        gate.set()
        await bot.wait()
        clock.ahead_s += NONCE_MEMORY_S if is_nonce_forgotten else 0
        bot = await stack.start_bot()
        assert await account.check() == {Fate.FULL: number + 1}


async def test_10_without_an_engine_that_is_said_at_once_and_once_more_at_the_deadline(
    stack: Stack, account: Account
) -> None:
    stack.programs["bot"] = "tests.faults.hasty_bot"
    await stack.start_bot(**ROOMY)
    asked_s = time.monotonic()
    asks = [await account.mention(stack.sandbox.alice, f"Question {each}") for each in range(4)]
    # However late we look.
    first = [(await shown(account, stack, ask)).revisions[0].content for ask in asks]
    assert all("No engine is running right now" in content for content in first)
    assert await account.check(Fate.ERROR) == {Fate.ERROR: 4}
    for ask in asks:
        (message,) = account.messages(ask)
        assert message.content == replies.error_sentence(
            Failed(code=ErrorCode.NO_ENGINE, message="")
        )
        assert message.revisions[-1].at_s - asked_s >= MESSAGE_DEADLINE_S - ROUNDING_S


@pytest.mark.fault
async def test_25_when_the_only_engine_dies_each_is_told_at_its_own_deadline(
    stack: Stack, account: Account
) -> None:
    stack.programs["bot"] = "tests.faults.hasty_bot"
    engine = await stack.start_engine(slots=4, **CRAWL)
    await stack.start_bot(**ROOMY)
    asked_s: dict[Ask, float] = {}
    for number in range(8):
        user, now_s = stack.sandbox.join(f"user {number}"), time.monotonic()
        if number % 2:
            ask = await account.mention(user, f"Question {number}")
        else:
            ask = await account.generate(user, f"Question {number}")
        asked_s[ask] = now_s
    await running(stack, 4)
    await stack.kill(engine)
    assert await account.check(Fate.ERROR) == {Fate.ERROR: 8}
    told = set()
    for ask, since_s in asked_s.items():
        is_message = isinstance(ask.event, Message)
        lasts_s = MESSAGE_DEADLINE_S if is_message else INTERACTION_DEADLINE_S
        message = account.messages(ask)[-1]
        assert message.revisions[-1].at_s - since_s >= lasts_s - ROUNDING_S
        record = await account.record(ask)
        assert record is not None
        assert isinstance(record.outcome, Failed)
        told.add(record.outcome.code)
    assert told <= {ErrorCode.DEADLINE, ErrorCode.NO_ENGINE}


async def two_bots(stack: Stack) -> tuple[Process, Process]:
    """Start two bots under one name, and wait until both are connected."""
    bots = [await stack.spawn("bot", "run", **ROOMY) for _ in range(2)]
    async with asyncio.timeout(REPLY_TIMEOUT_S):
        while stack.sandbox.gateway.num_connected < 2 or not stack.sandbox.world.commands:
            await asyncio.sleep(0.05)
    return bots[0], bots[1]


@pytest.mark.fault
async def test_22_two_bots_of_one_name_give_one_answer(stack: Stack, account: Account) -> None:
    await stack.start_engine(slots=8, **STROLL)
    first, late = await two_bots(stack)
    people = [stack.sandbox.join(f"user {number}") for number in range(4)]
    for number in range(12):
        user = people[number % len(people)]
        if number % 3:
            await account.mention(user, f"Question {number}")
        else:
            await account.generate(user, f"Question {number}", length=20)
    # Longer than a message holds.
    await account.generate(stack.sandbox.bob, "A long story", length=600)
    assert await account.check() == {Fate.FULL: 13}
    with frozen(late):
        for user in people:
            await account.mention(user, "And one more")
        assert await account.check() == {Fate.FULL: 17}
        said = {ask: contents(account, ask) for ask in account.asks}
        await stack.kill(first)
    # What it hears of so late is answered already.
    await account.mention(people[0], "The last one")
    assert await account.check() == {Fate.FULL: 18}
    assert {ask: contents(account, ask) for ask in said} == said


def contents(account: Account, ask: Ask) -> list[str]:
    """Return what a question's answer says, message by message."""
    return [message.content for message in account.messages(ask)]
