"""A bot that stops or is killed, and one that comes back: each reply goes on where it stood."""

import asyncio
import time

import pytest
from redis.asyncio import Redis

from bot import replies
from bot.origin import MessageOrigin, dump_origin
from sandbox.model import Message
from sandbox.server import Sandbox
from tests.bot.support import (
    DEADLINE_S,
    LABEL,
    MARK,
    Engine,
    running_bot,
    text_of,
    until_is,
    until_over,
    until_says,
)
from tests.wire.support import make_job
from wire.queue import JobQueue, JobState

STORY = "The old lighthouse keeper counted the ships again. " * 60


async def ask(sandbox: Sandbox, words: str = "Once") -> Message:
    return await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} {words}")


@pytest.mark.parametrize("memory", ["all", "nothing noted", "not even a nonce"])
async def test_a_restarted_bot_goes_on_in_the_same_messages(
    sandbox: Sandbox, redis_url: str, redis: Redis, engine: Engine, queue: JobQueue, memory: str
):
    async with running_bot(sandbox, redis_url):
        asked = await ask(sandbox)
        job = await engine.take()
        await engine.write(job, STORY)
        await sandbox.wait_for(lambda: len(sandbox.bot_messages(sandbox.general)) == 2)
    parts = sandbox.bot_messages(sandbox.general)
    if memory != "all":
        await redis.hdel(f"{{ovid:0}}:job:{job.job_id}", "messages")
    if memory == "not even a nonce":
        for part in parts:
            part.nonce = None
    await engine.write(job, "Meanwhile. ")
    async with running_bot(sandbox, redis_url) as restarted:
        await until_says(sandbox, parts[1], "Meanwhile.")
        await engine.end(job, "The end.")
        await until_over(queue, restarted)
    assert sandbox.bot_messages(sandbox.general) == parts
    assert parts[0].reference is asked
    assert text_of(parts).split() == f"{STORY}Meanwhile. The end.".split()


async def test_a_restarted_bot_goes_on_answering_a_slash_command(
    sandbox: Sandbox, redis_url: str, engine: Engine, queue: JobQueue
):
    async with running_bot(sandbox, redis_url):
        called = await sandbox.slash(sandbox.alice, sandbox.general, "generate", {"prompt": "I"})
        job = await engine.take()
        await engine.write(job, STORY)
        await sandbox.wait_for(lambda: len(sandbox.bot_messages(sandbox.general)) == 2)
    parts = sandbox.bot_messages(sandbox.general)
    await engine.end(job, "The end.")
    async with running_bot(sandbox, redis_url) as restarted:
        await until_over(queue, restarted)
    assert sandbox.bot_messages(sandbox.general) == parts
    assert parts[0] is called.original
    assert parts[1].content.endswith("The end.")
    assert not parts[0].buttons
    assert not parts[1].buttons


@pytest.mark.parametrize("shown", ["nothing", "a part"])
async def test_an_answer_whose_15_minutes_are_over_is_finished_as_a_message(
    redis_url: str, engine: Engine, queue: JobQueue, shown: str
):
    passed_s = 0.0
    sandbox = Sandbox(limits={}, clock=lambda: time.monotonic() + passed_s)
    async with sandbox:
        async with running_bot(sandbox, redis_url):
            called = await sandbox.slash(sandbox.alice, sandbox.general, "generate")
            job = await engine.take()
            if shown == "a part":
                await engine.write(job, "Once")
                await sandbox.wait_for(lambda: called.original and called.original.content)
        passed_s = 16 * 60
        await engine.end(job, " upon")
        async with running_bot(sandbox, redis_url) as restarted:
            await until_over(queue, restarted)
        assert called.original
        head = f"{LABEL}\n-# Alice asked for a text.\n"
        assert called.original.content == head + ("Once upon" if shown == "a part" else " upon")
        assert sandbox.bot_messages(sandbox.general) == [called.original]


async def test_a_job_that_ended_while_the_bot_was_away_is_answered_when_it_is_back(
    sandbox: Sandbox, redis_url: str, engine: Engine, queue: JobQueue
):
    async with running_bot(sandbox, redis_url):
        asked = await ask(sandbox)
        job = await engine.take()
    shown_before = sandbox.bot_messages(sandbox.general)
    await engine.end(job, " upon")
    async with running_bot(sandbox, redis_url) as restarted:
        reply = await sandbox.wait_for_reply(asked)
        await until_over(queue, restarted)
    assert reply.content == f"{LABEL}\n upon"
    assert shown_before in ([], [reply])
    assert sandbox.bot_messages(sandbox.general) == [reply]


async def test_the_stop_button_works_after_a_restart(
    sandbox: Sandbox, redis_url: str, engine: Engine
):
    async with running_bot(sandbox, redis_url):
        asked = await ask(sandbox)
        job = await engine.take()
        await engine.write(job, " upon")
        reply = await sandbox.wait_for_reply(asked)
    async with running_bot(sandbox, redis_url):
        button = reply.button("Stop")
        assert button
        await sandbox.press(sandbox.alice, reply, button.custom_id)
        await sandbox.wait_for(lambda: not reply.buttons)
        assert await engine.write(job, "") == 2


async def test_a_stop_button_whose_job_nobody_knows_goes_away(
    sandbox: Sandbox, redis_url: str, redis: Redis, engine: Engine
):
    async with running_bot(sandbox, redis_url):
        asked = await ask(sandbox)
        await engine.write(await engine.take(), " upon")
        reply = await sandbox.wait_for_reply(asked)
        await until_is(sandbox, reply, f"{LABEL}\n upon{MARK}")
    await redis.flushall()
    async with running_bot(sandbox, redis_url):
        button = reply.button("Stop")
        assert button
        await sandbox.press(sandbox.alice, reply, button.custom_id)
        await sandbox.wait_for(lambda: not reply.buttons)
    assert reply.content == f"{LABEL}\n upon{MARK}"


@pytest.mark.parametrize("how", ["message", "slash"])
async def test_even_a_restarted_bot_tells_who_lost_a_job(
    sandbox: Sandbox, redis_url: str, redis: Redis, engine: Engine, queue: JobQueue, how: str
):
    async with running_bot(sandbox, redis_url):
        if how == "message":
            await ask(sandbox)
        else:
            await sandbox.slash(sandbox.alice, sandbox.general, "generate", {"prompt": "Once"})
        job = await engine.take()
        await engine.write(job, " upon")
        [reply] = await sandbox.wait_for(
            lambda: [m for m in sandbox.bot_messages(sandbox.general) if m.button("Stop")]
        )
    await redis.delete(f"{{ovid:0}}:job:{job.job_id}", f"{{ovid:0}}:text:{job.job_id}")
    async with running_bot(sandbox, redis_url) as restarted:
        await until_over(queue, restarted)
    assert reply.content == replies.FORGOTTEN
    assert sandbox.bot_messages(sandbox.general) == [reply]


async def test_a_bot_that_is_killed_again_and_again_answers_every_request_once(
    sandbox: Sandbox, redis_url: str, engine: Engine, queue: JobQueue, child_bot
):
    asked = []
    for number in range(4):
        bot = await child_bot()
        asked.append(await ask(sandbox, f"{number}"))
        job = await engine.take()
        await engine.write(job, f" answer {number}")
        await sandbox.wait_for_reply(asked[-1])
        bot.process.kill()
        await bot.until_it_ends()
        await engine.end(job, " is whole.")
    await child_bot()
    for number, each in enumerate(asked):
        reply = await sandbox.wait_for_reply(each)
        await until_is(sandbox, reply, f"{LABEL}\n answer {number} is whole.")
    assert len(sandbox.bot_messages(sandbox.general)) == len(asked)


async def test_a_reply_is_over_though_redis_has_lost_that_it_was_shown(
    sandbox: Sandbox,
    redis_url: str,
    redis: Redis,
    engine: Engine,
    queue: JobQueue,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("bot.follower.RECONCILE_INTERVAL_S", 0.02)
    async with running_bot(sandbox, redis_url) as bot:
        asked = await ask(sandbox)
        job = await engine.take()
        await engine.end(job, STORY)
        await until_over(queue, bot)
        reply = await sandbox.wait_for_reply(asked)
        said = list(reply.revisions)
        await redis.sadd(f"{{ovid:0}}:own:{job.bot_id}", job.job_id)
        await until_over(queue, bot)
        assert list(reply.revisions) == said


async def test_a_job_that_cannot_even_be_told_of_holds_up_no_other(
    sandbox: Sandbox, redis_url: str, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bot.follower.RECONCILE_INTERVAL_S", 0.02)
    async with running_bot(sandbox, redis_url) as bot:
        assert bot.user is not None
        asked = await sandbox.say(sandbox.alice, sandbox.general, "nothing for the bot")
        origin = MessageOrigin(
            channel_id=sandbox.general.id, asker_id=sandbox.alice.id, message_id=asked.id
        )
        job = make_job("by-hand", bot_id=str(bot.user.id), origin=dump_origin(origin))
        await queue.submit(job)
        await until_over(queue, bot)
    record = await queue.snapshot(job.job_id)
    assert record is not None
    assert record.state is JobState.ENDED


async def as_if_killed() -> None:
    """Tell nobody anything."""


@pytest.mark.parametrize("when", ["while-it-runs", "as-it-ends"])
async def test_a_last_word_is_shown_by_the_next_bot_though_redis_has_lost_whose_it_is(
    sandbox: Sandbox,
    redis_url: str,
    redis: Redis,
    engine: Engine,
    queue: JobQueue,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
):
    if when == "while-it-runs":
        monkeypatch.setattr("bot.follower.RECONCILE_INTERVAL_S", 0.02)
    async with running_bot(sandbox, redis_url) as bot:
        asked = await ask(sandbox)
        job = await engine.take()
        await engine.write(job, " upon")
        reply = await sandbox.wait_for_reply(asked)
        sandbox.faults.cut("*", times=9999)
        await engine.end(job, " a time")
        await redis.delete(f"{{ovid:0}}:own:{job.bot_id}", f"{{ovid:0}}:events:{job.bot_id}")
        if when == "while-it-runs":
            async with asyncio.timeout(DEADLINE_S):
                while await queue.own(job.bot_id) != {job.job_id}:
                    await asyncio.sleep(0.01)
            assert bot._follower
            monkeypatch.setattr(bot._follower, "leave", as_if_killed)
    sandbox.faults.clear()
    async with running_bot(sandbox, redis_url) as restarted:
        await until_over(queue, restarted)
    assert reply.content == f"{LABEL}\n upon a time"
