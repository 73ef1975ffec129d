"""One visible answer to every request, whatever is lost, repeated or killed in between."""

import json

import pytest
from redis.asyncio import Redis

from bot import follower, replies
from bot.client import BotClient
from sandbox.model import Message
from sandbox.rights import May
from sandbox.server import Sandbox
from tests.bot.support import (
    DEADLINE_S,
    LABEL,
    MARK,
    Engine,
    running_bot,
    text_of,
    until,
    until_is,
    until_over,
    until_says,
)
from tests.wire.support import lapse
from wire.queue import JobQueue

POST = "POST /channels/{channel_id}/messages"
PATCH = "PATCH /channels/{channel_id}/messages/{message_id}"
STORY = "The old lighthouse keeper counted the ships again. " * 60


async def ask(sandbox: Sandbox, words: str = "Once") -> Message:
    return await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} {words}")


async def test_an_event_that_comes_six_times_gets_one_answer(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    sandbox.gateway.event_copies = 6
    asked = await ask(sandbox)
    await engine.end(await engine.take(), " upon")
    reply = await sandbox.wait_for_reply(asked)
    await until_over(queue, bot)
    await engine.take_nothing()
    assert sandbox.bot_messages(sandbox.general) == [reply]
    assert reply.content == f"{LABEL}\n upon"


async def test_two_bots_under_one_name_give_one_answer(
    sandbox: Sandbox, redis_url: str, engine: Engine, queue: JobQueue
):
    async with running_bot(sandbox, redis_url) as first, running_bot(sandbox, redis_url):
        asked = await ask(sandbox)
        job = await engine.take()
        await engine.write(job, STORY)
        await sandbox.wait_for(lambda: len(sandbox.bot_messages(sandbox.general)) == 2)
        await engine.end(job, "The end.")
        await sandbox.wait_for_reply(asked)
        await until_over(queue, first)
        await engine.take_nothing()
        parts = sandbox.bot_messages(sandbox.general)
        assert len(parts) == 2
        assert text_of(parts).split() == f"{STORY}The end.".split()


@pytest.mark.parametrize("status", [None, 502])
async def test_lost_answers_to_posts_and_edits_double_nothing(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue, status: int | None
):
    sandbox.faults.lose(POST, status=status)
    sandbox.faults.lose(PATCH, status=status)
    asked = await ask(sandbox)
    job = await engine.take()
    await engine.write(job, " upon")
    reply = await sandbox.wait_for_reply(asked)
    await engine.write(job, " a time")
    await until_is(sandbox, reply, f"{LABEL}\n upon a time{MARK}")
    await engine.end(job, ".")
    await until_over(queue, bot)
    assert sandbox.bot_messages(sandbox.general) == [reply]
    assert reply.content == f"{LABEL}\n upon a time."


async def test_a_discord_that_refuses_for_a_while_is_asked_until_it_works(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    sandbox.faults.refuse(POST, 503, times=2)
    sandbox.faults.refuse(PATCH, 429, times=2)
    asked = await ask(sandbox)
    job = await engine.take()
    await engine.write(job, " upon")
    reply = await sandbox.wait_for_reply(asked)
    await engine.end(job, " a time")
    await until_over(queue, bot)
    assert reply.content == f"{LABEL}\n upon a time"
    assert sandbox.bot_messages(sandbox.general) == [reply]


async def test_a_retried_job_starts_afresh_in_the_same_messages(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue, redis: Redis
):
    asked = await ask(sandbox)
    lost = Engine(redis, "lost")
    job = await lost.take()
    await lost.write(job, STORY)
    await sandbox.wait_for(lambda: len(sandbox.bot_messages(sandbox.general)) == 2)
    first, second = sandbox.bot_messages(sandbox.general)
    await lapse(redis, job.job_id)
    again = await engine.take()
    assert again.job_id == job.job_id
    await engine.write(again, " short")
    await until_is(sandbox, first, f"{LABEL}\n short{MARK}")
    await until_is(sandbox, second, f"{LABEL}\n{MARK}")
    await engine.end(again, ".")
    await until_over(queue, bot)
    assert first.content == f"{LABEL}\n short."
    assert first.reference is asked
    assert sandbox.bot_messages(sandbox.general) == [first]


async def test_the_stream_of_hints_may_vanish(
    sandbox: Sandbox, bot: BotClient, engine: Engine, redis: Redis, queue: JobQueue
):
    asked = await ask(sandbox)
    job = await engine.take()
    await engine.write(job, " upon")
    reply = await sandbox.wait_for_reply(asked)
    assert bot.user
    await redis.delete(f"{{ovid:0}}:events:{bot.user.id}")
    await engine.end(job, " a time")
    await until_over(queue, bot)
    assert reply.content == f"{LABEL}\n upon a time"


async def test_a_person_whose_job_redis_lost_is_told_to_ask_again_and_new_jobs_work(
    sandbox: Sandbox, bot: BotClient, engine: Engine, redis: Redis
):
    asked = await ask(sandbox)
    await engine.write(await engine.take(), " upon")
    reply = await sandbox.wait_for_reply(asked)
    await until_is(sandbox, reply, f"{LABEL}\n upon{MARK}")
    await redis.flushall()
    await until_is(sandbox, reply, f"{LABEL}\n upon\n{replies.FORGOTTEN}")
    assert not reply.buttons
    fresh = Engine(redis, "fresh")
    again = await ask(sandbox, "again")
    await fresh.end(await fresh.take(), "!")
    await until_is(sandbox, await sandbox.wait_for_reply(again), f"{LABEL}\n!")


async def test_a_reply_that_cannot_be_shown_for_reasons_nobody_foresaw_ends_with_a_sentence(
    sandbox: Sandbox,
    bot: BotClient,
    redis: Redis,
    queue: JobQueue,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(follower, "RECONCILE_INTERVAL_S", 0.02)
    asked = await ask(sandbox)
    reply = await sandbox.wait_for_reply(asked)
    [key] = await redis.keys("{ovid:0}:job:*")
    await redis.hset(key, "body", "{}")
    words = replies.FAILED_HERE
    await sandbox.wait_for(
        lambda: words in [each.content for each in sandbox.bot_messages(sandbox.general)],
        DEADLINE_S,
    )
    await until_over(queue, bot)
    assert "showing its reply failed" in caplog.text
    assert len(sandbox.bot_messages(sandbox.general)) == 2
    assert sandbox.bot_messages(sandbox.general)[0] is reply


@pytest.mark.usefixtures("no_notices")
async def test_a_person_who_cannot_be_told_for_reasons_nobody_foresaw_ends_no_other_reply(
    sandbox: Sandbox,
    bot: BotClient,
    engine: Engine,
    queue: JobQueue,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    async def break_down(_: object) -> None:
        raise KeyError

    monkeypatch.setattr(bot, "create_dm", break_down)
    asked = await ask(sandbox)
    job = await engine.take()
    await engine.write(job, " upon")
    reply = await sandbox.wait_for_reply(asked)
    await sandbox.say(sandbox.bob, sandbox.random, f"{sandbox.bot_user.mention} Once")
    denied = await engine.take()
    sandbox.deny_bot(sandbox.random, May.SEND)
    await engine.write(denied, " upon")
    await until(lambda: "KeyError" in caplog.text)
    await engine.end(job, " a time")
    await until_is(sandbox, reply, f"{LABEL}\n upon a time")
    await until_over(queue, bot)
    assert "following the queue failed" not in caplog.text


async def test_the_gateway_may_drop_and_nothing_is_lost_or_doubled(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    first = await ask(sandbox, "one")
    job = await engine.take()
    await sandbox.gateway.drop()
    second = await ask(sandbox, "two")
    other = await engine.take()
    for each in (job, other):
        await engine.end(each, "!")
    for asked in (first, second):
        await until_is(sandbox, await sandbox.wait_for_reply(asked), f"{LABEL}\n!")
    await until_over(queue, bot)
    assert len(sandbox.bot_messages(sandbox.general)) == 2


async def test_the_log_of_a_whole_conversation_holds_no_word_of_it_and_no_secret(
    sandbox: Sandbox, engine: Engine, child_bot
):
    bot = await child_bot(OVID_LOG_LEVEL="DEBUG")
    asked = await ask(sandbox, "xyzzy-prompt")
    job = await engine.take()
    await engine.write(job, "plugh-reply")
    await until_says(sandbox, await sandbox.wait_for_reply(asked), "plugh-reply")
    called = await sandbox.slash(
        sandbox.alice, sandbox.general, "generate", {"prompt": "xyzzy-prompt"}
    )
    second = await engine.take()
    await engine.end(second, "plugh-reply")
    await engine.end(job)
    await sandbox.wait_for(lambda: called.original and "plugh" in called.original.content)
    await bot.until_it_logs("ending=done", times=2)
    bot.process.terminate()
    assert await bot.until_it_ends() == 0
    log = "".join(bot.log)
    assert "bot ready" in log
    assert job.job_id in log
    assert "Traceback" not in log
    for secret in (
        "xyzzy",
        "plugh",
        sandbox.token,
        called.token,
        json.loads(second.origin)["token"],
    ):
        assert secret not in log


async def test_a_text_that_was_read_to_its_end_is_shown_though_redis_has_lost_it_since(
    sandbox: Sandbox, bot: BotClient, engine: Engine, redis: Redis, queue: JobQueue
):
    asked = await ask(sandbox)
    job = await engine.take()
    await engine.write(job, " upon")
    reply = await sandbox.wait_for_reply(asked)
    sandbox.faults.cut("PATCH *", times=9999)
    await engine.end(job, " a time")
    assert bot._follower
    live = bot._follower._live[job.job_id]
    await until(lambda: live._record and live._record.outcome)
    await redis.delete(f"{{ovid:0}}:job:{job.job_id}", f"{{ovid:0}}:text:{job.job_id}")
    num_before = len(sandbox.recorder)
    # By then it has looked again.
    await until(lambda: len(sandbox.recorder) >= num_before + 2)
    sandbox.faults.clear()
    await until_over(queue, bot)
    assert reply.content == f"{LABEL}\n upon a time"
