"""Two bots under one name, of which one is slow, cut off or late: still one answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from bot.client import BotClient
from bot.follower import COMPANY_S
from bot.live_reply import LiveReply
from sandbox.model import Message
from sandbox.server import Sandbox
from tests.bot.support import (
    DEADLINE_S,
    LABEL,
    MARK,
    Clock,
    Engine,
    running_bot,
    text_of,
    until,
    until_is,
    until_over,
)
from tests.wire.support import lapse
from wire.queue import JobQueue

STORY = "The old lighthouse keeper counted the ships again. " * 60
NONCE_LASTS_S = 400.0
PATCH = "PATCH /channels/{channel_id}/messages/{message_id}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sandbox(clock: Clock) -> AsyncIterator[Sandbox]:
    async with Sandbox(limits={}, clock=clock) as server:
        yield server


@pytest.fixture
async def bots(
    sandbox: Sandbox, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[BotClient, BotClient]]:
    monkeypatch.setattr("bot.follower.RECONCILE_INTERVAL_S", 0.05)
    async with running_bot(sandbox, redis_url) as one, running_bot(sandbox, redis_url) as other:
        yield one, other


async def ask(sandbox: Sandbox) -> Message:
    words = f"{sandbox.bot_user.mention} Once"
    return await sandbox.say(sandbox.alice, sandbox.general, words)


async def live_reply_of(bot: BotClient, num_parts: int) -> LiveReply:
    """The only reply that a bot shows, once it knows of so many parts."""
    follower = bot._follower
    assert follower is not None

    def has_parts() -> bool:
        return any(len(reply._editor.message_ids) == num_parts for reply in follower._live.values())

    await until(has_parts)
    [reply] = follower._live.values()
    return reply


async def test_parts_that_one_has_posted_are_not_posted_by_the_other_long_afterwards(
    sandbox: Sandbox,
    clock: Clock,
    bots: tuple[BotClient, BotClient],
    engine: Engine,
    queue: JobQueue,
    monkeypatch: pytest.MonkeyPatch,
):
    one, other = bots
    await ask(sandbox)
    job = await engine.take()
    await engine.write(job, " upon")
    late = await live_reply_of(other, 1)
    gate = asyncio.Event()
    turn = late._look

    async def held_up() -> object:
        await gate.wait()
        return await turn()

    monkeypatch.setattr(late, "_look", held_up)
    await engine.write(job, STORY)
    await engine.end(job, " The end.")
    await until_over(queue, one)
    clock.passed_s = NONCE_LASTS_S
    gate.set()
    await until(lambda: not other.num_live)
    parts = sandbox.bot_messages(sandbox.general)
    assert len(parts) == 2
    assert text_of(parts).endswith("The end.")


async def test_a_reply_that_one_has_ended_in_fewer_parts_is_not_taken_away_by_the_other(
    sandbox: Sandbox,
    bots: tuple[BotClient, BotClient],
    engine: Engine,
    queue: JobQueue,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
):
    one, other = bots
    await ask(sandbox)
    job = await engine.take()
    await engine.write(job, STORY)
    late = await live_reply_of(other, 2)
    await live_reply_of(one, 2)
    reached, gate = asyncio.Event(), asyncio.Event()
    edit = late._surface.edit

    async def held_up(part: int, *args: object) -> None:
        if part == 1 and not gate.is_set():
            reached.set()
            await gate.wait()
        await edit(part, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(late._surface, "edit", held_up)
    second = Engine(redis, "engine-2")
    await lapse(redis, job.job_id)
    job = await second.take()
    await second.write(job, " short")
    async with asyncio.timeout(DEADLINE_S):
        await reached.wait()
    await second.end(job, " story.")
    await until_over(queue, one)
    gate.set()
    await until(lambda: not other.num_live)
    [reply] = sandbox.bot_messages(sandbox.general)
    assert reply.content == f"{LABEL}\n short story."


async def test_what_one_could_not_take_in_goes_on_where_the_other_shows_it(
    sandbox: Sandbox,
    bots: tuple[BotClient, BotClient],
    engine: Engine,
    queue: JobQueue,
    monkeypatch: pytest.MonkeyPatch,
):
    one, other = bots
    shown = asyncio.Event()

    async def away(*_: object) -> None:
        await shown.wait()
        raise RedisConnectionError("cut")

    monkeypatch.setattr(other._intake, "_submit", away)
    asked = await ask(sandbox)
    job = await engine.take()
    await engine.write(job, " upon")
    reply = await sandbox.wait_for_reply(asked)
    shown.set()
    # Its own round has seen the job since.
    await until(lambda: other.num_live)
    assert await engine.write(job, " a") == 1
    await engine.end(job, " time")
    await until_over(queue, one)
    # Whoever is second may have been about to show less, and then shows all.
    await until(lambda: not other.num_live)
    assert reply.content == f"{LABEL}\n upon a time"


class Company:
    """Time as bots know it, but their wait for others' older edits lasts until it is `over`."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(asyncio, name)

    async def sleep(self, delay_s: float) -> None:
        await (self.over.wait() if delay_s == COMPANY_S else asyncio.sleep(delay_s))


@pytest.mark.parametrize("who_dies", ["who asked", "who took over"])
async def test_an_older_edit_that_comes_behind_the_last_word_does_not_stay(
    who_dies: str,
    sandbox: Sandbox,
    redis_url: str,
    engine: Engine,
    queue: JobQueue,
    monkeypatch: pytest.MonkeyPatch,
):
    company = Company()
    monkeypatch.setattr("bot.follower.asyncio", company)
    monkeypatch.setattr("bot.follower.RECONCILE_INTERVAL_S", 0.05)
    async with AsyncExitStack() as lives, AsyncExitStack() as dies:
        first, second = (dies, lives) if who_dies == "who asked" else (lives, dies)
        await first.enter_async_context(running_bot(sandbox, redis_url))
        asked = await ask(sandbox)
        job = await engine.take()
        await engine.write(job, " upon")
        reply = await sandbox.wait_for_reply(asked)
        await until_is(sandbox, reply, f"{LABEL}\n upon{MARK}")
        arrives = sandbox.faults.hold(PATCH)
        if first is dies:
            await engine.write(job, " a")
            await until(lambda: sandbox.faults.is_used_up(PATCH))
        bot = await second.enter_async_context(running_bot(sandbox, redis_url))
        await until(lambda: sandbox.faults.is_used_up(PATCH))
        await engine.end(job, " time" if first is dies else " a time")
        await until_is(sandbox, reply, f"{LABEL}\n upon a time")
        await until_over(queue, bot)
        # It dies before it can show the end itself.
        await dies.aclose()
        arrives.set()
        await until_is(sandbox, reply, f"{LABEL}\n upon{' a' if first is dies else ''}{MARK}")
        company.over.set()
        await until_is(sandbox, reply, f"{LABEL}\n upon a time")
    assert not reply.buttons
