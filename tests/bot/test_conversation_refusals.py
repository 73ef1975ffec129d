"""Every request that gets no text gets a sentence."""

import pytest

from bot import replies
from bot.client import BotClient
from sandbox.redis_server import RedisServer
from sandbox.server import Sandbox
from tests.bot.support import (
    LABEL,
    Clock,
    Engine,
    running_bot,
    until,
    until_is,
    until_over,
    until_says,
)
from tests.wire.support import lapse
from wire.connection import connect
from wire.jobs import ErrorCode
from wire.queue import Bounds, JobQueue

POST = "POST /channels/{channel_id}/messages"


async def test_a_full_line_refuses_with_its_length(sandbox: Sandbox, redis_url: str):
    async with running_bot(sandbox, redis_url, bounds=Bounds(2, 10)):
        for word in ("one", "two"):
            first = await sandbox.say(
                sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} {word}"
            )
            await sandbox.wait_for_reply(first)
        asked = await sandbox.say(sandbox.bob, sandbox.general, f"{sandbox.bot_user.mention} x")
        reply = await sandbox.wait_for_reply(asked)
        assert reply.content == replies.line_is_full(2)
        assert "2 requests are already waiting" in reply.content
        called = await sandbox.slash(sandbox.bob, sandbox.general, "generate")
        await sandbox.wait_for(lambda: called.original and called.original.content)
        assert called.original
        assert called.original.content == replies.line_is_full(2)


async def test_a_person_with_a_running_job_is_refused_until_it_is_done(
    sandbox: Sandbox, redis_url: str, engine: Engine
):
    async with running_bot(sandbox, redis_url, bounds=Bounds(200, 1)):
        mention = sandbox.bot_user.mention
        first = await sandbox.say(sandbox.alice, sandbox.general, f"{mention} one")
        job = await engine.take()
        second = await sandbox.say(sandbox.alice, sandbox.general, f"{mention} two")
        assert (await sandbox.wait_for_reply(second)).content == replies.you_have_enough(1)
        other = await sandbox.say(sandbox.bob, sandbox.general, f"{mention} three")
        assert (await engine.take()).prompt == "three"
        await sandbox.wait_for_reply(other)
        await engine.end(job, "!")
        await until_is(sandbox, await sandbox.wait_for_reply(first), f"{LABEL}\n!")
        await sandbox.say(sandbox.alice, sandbox.general, f"{mention} four")
        assert (await engine.take()).prompt == "four"


async def test_a_refusal_is_said_once_for_a_repeated_event(sandbox: Sandbox, redis_url: str):
    sandbox.gateway.event_copies = 6
    async with (
        running_bot(sandbox, redis_url, bounds=Bounds(1, 10)),
        running_bot(sandbox, redis_url, bounds=Bounds(1, 10)),
    ):
        mention = sandbox.bot_user.mention
        first = await sandbox.say(sandbox.alice, sandbox.general, f"{mention} one")
        taken = await sandbox.wait_for_reply(first)
        second = await sandbox.say(sandbox.bob, sandbox.general, f"{mention} two")
        refused = await sandbox.wait_for_reply(second)
        third = await sandbox.say(sandbox.bob, sandbox.general, f"{mention} three")
        again = await sandbox.wait_for_reply(third)
        assert sandbox.bot_messages(sandbox.general) == [taken, refused, again]


async def test_a_refused_request_stays_refused_when_its_event_comes_again_later(
    sandbox: Sandbox, redis_url: str, engine: Engine
):
    async with running_bot(sandbox, redis_url, bounds=Bounds(200, 1)):
        mention = sandbox.bot_user.mention
        first = await sandbox.say(sandbox.alice, sandbox.general, f"{mention} one")
        job = await engine.take()
        second = await sandbox.say(sandbox.alice, sandbox.general, f"{mention} two")
        refusal = await sandbox.wait_for_reply(second)
        await engine.end(job, "!")
        reply = await sandbox.wait_for_reply(first)
        await until_is(sandbox, reply, f"{LABEL}\n!")
        sandbox.world.publish("MESSAGE_CREATE", second)
        await sandbox.say(sandbox.alice, sandbox.general, f"{mention} three")
        assert (await engine.take()).prompt == "three"
        assert set(sandbox.bot_messages(sandbox.general)) >= {refusal, reply}


async def test_a_prompt_that_is_too_long_is_refused_in_the_engines_words(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    asked = await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} Hi")
    job = await engine.take()
    said = "The prompt is 1000 tokens long; with 128 to write, 896 are taken at most."
    await engine.fail(job, ErrorCode.PROMPT_TOO_LONG, said)
    await until_is(sandbox, await sandbox.wait_for_reply(asked), f"⚠️ {said}")


async def test_a_request_that_no_queue_takes_is_refused_by_its_size(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    options = {"prompt": "🦋" * 4000}
    called = await sandbox.slash(sandbox.alice, sandbox.general, "generate", options)
    await sandbox.wait_for(lambda: called.original and called.original.content)
    assert called.original
    assert "bytes long, at most 16384 are taken" in called.original.content
    await engine.take_nothing()


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_the_person_reads_a_sentence_for(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue, code: ErrorCode
):
    asked = await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} Hi")
    await engine.fail(await engine.take(), code)
    reply = await sandbox.wait_for_reply(asked)
    await until_over(queue, bot)
    assert reply.content.startswith("⚠️ ")
    assert reply.content.endswith(".")
    assert not reply.buttons


async def test_a_failure_after_some_text_keeps_the_text_and_says_so(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    asked = await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} Hi")
    job = await engine.take()
    await engine.write(job, " there")
    await engine.fail(job, ErrorCode.INTERNAL)
    reply = await sandbox.wait_for_reply(asked)
    await until_says(sandbox, reply, "⚠️ Something went wrong in the engine.")
    assert reply.content.startswith(f"{LABEL}\n there\n")


async def test_a_job_that_loses_every_engine_ends_with_a_sentence(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue, redis
):
    asked = await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} Hi")
    for number in range(3):
        lost = Engine(redis, f"lost-{number}")
        job = await lost.take()
        await lapse(redis, job.job_id)
        await engine.appear()
    reply = await sandbox.wait_for_reply(asked)
    await until_says(sandbox, reply, "The engine was lost again and again")
    await until_over(queue, bot)


async def test_while_redis_is_down_people_get_a_sentence_and_afterwards_an_answer(
    sandbox: Sandbox, own_redis_server: RedisServer
):
    mention = sandbox.bot_user.mention
    async with running_bot(sandbox, own_redis_server.url) as bot:
        await own_redis_server.kill()
        asked = await sandbox.say(sandbox.alice, sandbox.general, f"{mention} Hi")
        refusal = await sandbox.wait_for_reply(asked)
        assert refusal.content == replies.REDIS_AWAY
        called = await sandbox.slash(sandbox.alice, sandbox.general, "generate")
        await sandbox.wait_for(lambda: called.original and called.original.content)
        assert called.original
        assert called.original.content == replies.REDIS_AWAY
        await own_redis_server.restart()
        async with connect(own_redis_server.url) as redis:
            engine = Engine(redis)
            again = await sandbox.say(sandbox.alice, sandbox.general, f"{mention} Hi again")
            job = await engine.take()
            assert job.prompt == "Hi again"
            await engine.end(job, "!")
            reply = await sandbox.wait_for_reply(again)
            await until_is(sandbox, reply, f"{LABEL}\n!")
            await until_over(JobQueue(redis), bot)
        assert sandbox.bot_messages(sandbox.general) == [refusal, called.original, reply]


@pytest.mark.usefixtures("no_notices")
async def test_where_the_bot_may_not_write_the_person_is_told_in_private_once(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    sandbox.faults.refuse(
        "POST /channels/{channel_id}/messages", 403, code=50013, message="Missing Permissions"
    )
    await sandbox.say(sandbox.bob, sandbox.general, f"{sandbox.bot_user.mention} Hi")
    job = await engine.take()
    await engine.write(job, " there")
    told = await sandbox.wait_for(lambda: sandbox.bot_messages(sandbox.dm(sandbox.bob)))
    assert told[0].content == replies.cannot_write(sandbox.general.id)
    await until_over(queue, bot)
    assert await engine.write(job, "") == 2
    assert sandbox.bot_messages(sandbox.general) == []
    assert len(sandbox.bot_messages(sandbox.dm(sandbox.bob))) == 1


@pytest.mark.parametrize("is_done", [False, True], ids=["not-said", "said-unheard"])
async def test_a_refusal_is_said_once_however_long_discord_is_away(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, *, is_done: bool
):
    monkeypatch.setattr("bot.commands.SAY_RETRY_MAX_S", 0.01)
    clock = Clock()
    async with (
        Sandbox(limits={}, clock=clock) as sandbox,
        running_bot(sandbox, redis_url, bounds=Bounds(1, 10)) as bot,
    ):
        mention = sandbox.bot_user.mention
        first = await sandbox.say(sandbox.alice, sandbox.general, f"{mention} one")
        taken = await sandbox.wait_for_reply(first)
        if is_done:
            sandbox.faults.lose(POST)
        sandbox.faults.cut("*", times=9999)
        num_before = len(sandbox.recorder)
        await sandbox.say(sandbox.bob, sandbox.general, f"{mention} two")
        await until(lambda: len(sandbox.recorder) >= num_before + 12)
        clock.passed_s = 400.0  # by then Discord has forgotten the nonce
        sandbox.faults.clear()
        await until(lambda: not bot._asking)
        [_, refusal] = sandbox.bot_messages(sandbox.general)
        assert refusal.content == replies.line_is_full(1)
        assert taken.content != refusal.content
