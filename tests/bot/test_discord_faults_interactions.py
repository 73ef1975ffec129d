"""Interactions whose right to be answered has ended, and what was asked as the bot stops."""

import asyncio

import pytest
from redis.asyncio import Redis

from bot import replies
from bot.client import BotClient
from sandbox.model import Interaction, Message
from sandbox.rights import May
from sandbox.rules import Upload
from sandbox.server import Sandbox
from tests.bot.support import (
    DEADLINE_S,
    LABEL,
    Engine,
    running_bot,
    told_in_private,
    until,
    until_is,
    until_over,
    warnings,
)
from wire.queue import JobQueue

CALLBACK = "POST /interactions/*"
ANSWER = "PATCH /webhooks/*"
FOLLOW_UP = "POST /webhooks/*"
CDN = "GET /ephemeral-attachments/*"
FILE = Upload("story.txt", "text/plain", b"The old lighthouse keeper counted the ships.")
HEAD = f"{LABEL}\n-# Bob asked for a text.\n"
ENDED = pytest.mark.parametrize(("status", "code"), [(401, 50027), (404, 10015)])
"""What Discord says of a token that is over, and of an answer that was never promised."""


async def call(sandbox: Sandbox) -> Interaction:
    return await sandbox.slash(sandbox.bob, sandbox.general, "generate")


async def begin(sandbox: Sandbox, engine: Engine) -> Message:
    """Let Bob mention the bot, and the bot begin to answer."""
    words = f"{sandbox.bot_user.mention} Once"
    asked = await sandbox.say(sandbox.bob, sandbox.general, words)
    await engine.write(await engine.take(), " upon")
    return await sandbox.wait_for_reply(asked)


def count(sandbox: Sandbox, method: str, route: str) -> int:
    return sum(each.method == method and each.route.startswith(route) for each in sandbox.recorder)


async def test_a_command_that_comes_too_late_is_told_so_in_the_channel_and_runs_nothing(
    sandbox: Sandbox, bot: BotClient, engine: Engine, caplog: pytest.LogCaptureFixture
):
    sandbox.faults.refuse(CALLBACK, 404, code=10062, times=9)
    await call(sandbox)
    [told] = await sandbox.wait_for(lambda: sandbox.bot_messages(sandbox.general), DEADLINE_S)
    assert told.content == replies.TOO_LATE
    await engine.take_nothing()
    assert count(sandbox, "POST", "/interactions/") == 1
    assert len(warnings(caplog)) == 1


async def test_where_the_bot_may_not_write_who_called_too_late_is_told_in_private(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    sandbox.deny_bot(sandbox.general, May.SEND)
    sandbox.faults.refuse(CALLBACK, 404, code=10062)
    await call(sandbox)
    await sandbox.wait_for(lambda: told_in_private(sandbox), DEADLINE_S)
    assert told_in_private(sandbox) == [replies.cannot_write(sandbox.general.id)]
    assert sandbox.bot_messages(sandbox.general) == []
    await engine.take_nothing()


async def test_too_late_for_one_of_two_bots_is_not_too_late_for_the_person(
    sandbox: Sandbox, redis_url: str, engine: Engine, queue: JobQueue
):
    async with running_bot(sandbox, redis_url) as first:
        called = await call(sandbox)
        job = await engine.take()
        async with running_bot(sandbox, redis_url) as second:
            sandbox.faults.refuse(CALLBACK, 404, code=10062)
            sandbox.world.publish("INTERACTION_CREATE", called)
            await until(lambda: sandbox.faults.is_used_up(CALLBACK) and not second._asking)
            await engine.end(job, " upon")
            await until_over(queue, first)
        assert sandbox.bot_messages(sandbox.general) == [called.original]
        assert called.original
        assert replies.TOO_LATE not in [each.content for each in called.original.revisions]


async def test_too_late_for_what_a_bot_of_another_version_has_is_not_too_late_for_the_person(
    sandbox: Sandbox, bot: BotClient, redis: Redis, caplog: pytest.LogCaptureFixture
):
    gate = asyncio.Event()
    sandbox.faults.refuse(CALLBACK, 404, code=10062, gate=gate)
    called = await call(sandbox)
    job_id = f"i{called.channel.id}.{called.id}"
    await redis.hset(f"{{ovid:0}}:job:{job_id}", mapping={"state": "waiting", "body": "{}"})
    gate.set()
    await until(lambda: any("too late" in each for each in warnings(caplog)) and not bot._asking)
    assert sandbox.bot_messages(sandbox.general) == []
    assert told_in_private(sandbox) == []
    assert not any(each.exc_info for each in caplog.records)


async def test_a_verification_that_comes_too_late_is_spoken_of_nowhere(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    sandbox.faults.refuse(CALLBACK, 404, code=10062)
    await sandbox.slash(sandbox.bob, sandbox.general, "verify", {"text": "The old lighthouse."})
    reply = await begin(sandbox, engine)
    assert sandbox.bot_messages(sandbox.general) == [reply]
    assert told_in_private(sandbox) == []


@ENDED
async def test_an_answer_that_is_refused_from_the_start_becomes_a_message(
    status: int, code: int, sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    sandbox.faults.refuse(ANSWER, status, code=code, times=99)
    called = await call(sandbox)
    job = await engine.take()
    await engine.write(job, " upon")
    await engine.end(job, " a time")
    await until_over(queue, bot)
    [promised, reply] = sandbox.bot_messages(sandbox.general)
    assert promised is called.original
    assert reply.content == f"{HEAD} upon a time"
    assert told_in_private(sandbox) == []


@ENDED
async def test_an_answer_that_is_refused_at_the_end_is_finished_by_the_bot_itself(
    status: int, code: int, sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    called = await call(sandbox)
    job = await engine.take()
    await engine.write(job, " upon")
    await sandbox.wait_for(lambda: called.original and "upon" in called.original.content)
    sandbox.faults.refuse(ANSWER, status, code=code, times=99)
    await engine.end(job, " a time")
    await until_over(queue, bot)
    assert called.original
    assert called.original.content == f"{HEAD} upon a time"
    assert sandbox.bot_messages(sandbox.general) == [called.original]


async def test_an_answer_that_nothing_can_finish_is_stopped_and_the_person_told_in_private(
    sandbox: Sandbox,
    bot: BotClient,
    engine: Engine,
    queue: JobQueue,
    caplog: pytest.LogCaptureFixture,
):
    sandbox.deny_bot(sandbox.general, May.SEND)
    called = await call(sandbox)
    job = await engine.take()
    await engine.write(job, " upon")
    await sandbox.wait_for(lambda: called.original and "upon" in called.original.content)
    sandbox.faults.refuse("* /webhooks/*", 401, code=50027, times=99)
    await engine.write(job, " a time")
    await until_over(queue, bot)
    assert await engine.write(job, "") == 2
    await sandbox.wait_for(lambda: told_in_private(sandbox), DEADLINE_S)
    assert told_in_private(sandbox) == [replies.cannot_write(sandbox.general.id)]
    assert len(warnings(caplog)) == 1


async def test_an_answer_that_somebody_deletes_is_stopped_and_not_written_anew(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    called = await call(sandbox)
    job = await engine.take()
    await engine.write(job, " upon")
    await sandbox.wait_for(lambda: called.original and "upon" in called.original.content)
    assert called.original
    await sandbox.delete(sandbox.alice, called.original)
    await engine.write(job, " a time")
    await until_over(queue, bot)
    assert await engine.write(job, "") == 2
    assert sandbox.bot_messages(sandbox.general) == []
    assert told_in_private(sandbox) == []


async def test_a_promise_that_somebody_deletes_before_the_answer_is_not_kept_elsewhere(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    called = await call(sandbox)
    job = await engine.take()
    assert called.original
    await sandbox.delete(sandbox.alice, called.original)
    await engine.write(job, " upon")
    await until_over(queue, bot)
    assert await engine.write(job, "") == 2
    assert sandbox.bot_messages(sandbox.general) == []


async def test_who_waits_for_a_file_to_be_read_hears_that_the_bot_stops(
    sandbox: Sandbox, redis_url: str, engine: Engine
):
    async with running_bot(sandbox, redis_url):
        sandbox.faults.hold(CDN)
        asked = await sandbox.slash(sandbox.bob, sandbox.general, "verify", {"file": FILE})
        await until(lambda: sandbox.faults.is_used_up(CDN))
        await sandbox.wait_for(lambda: asked.original, DEADLINE_S)
    assert asked.original
    await until_is(sandbox, asked.original, replies.STOPPING_HERE)
    assert asked.original.visible_to == sandbox.bob
    await engine.take_nothing()


async def test_what_was_asked_just_before_the_bot_stops_is_in_the_queue(
    sandbox: Sandbox, redis_url: str, engine: Engine, queue: JobQueue
):
    async with running_bot(sandbox, redis_url):
        promised = sandbox.faults.hold_answer(CALLBACK)
        called = await call(sandbox)
        await sandbox.wait_for(lambda: called.answered, DEADLINE_S)
        asyncio.get_running_loop().call_soon(promised.set)
    async with running_bot(sandbox, redis_url) as restarted:
        await engine.end(await engine.take(), " upon")
        await until_over(queue, restarted)
    assert called.original
    assert called.original.content == f"{HEAD} upon"


@ENDED
async def test_of_an_answer_that_is_taken_away_nothing_is_left_though_its_token_is_over(
    status: int, code: int, sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    called = await call(sandbox)
    job = await engine.take()
    await engine.write(job, " upon" * 600)
    await sandbox.wait_for(lambda: len(sandbox.bot_messages(sandbox.general)) == 2, DEADLINE_S)
    parts = sandbox.bot_messages(sandbox.general)
    sandbox.faults.refuse("* /webhooks/*", status, code=code, times=99)
    await sandbox.delete(sandbox.alice, parts[1])
    await engine.write(job, " a time")
    await until_over(queue, bot)
    assert await engine.write(job, "") == 2
    assert called.original is parts[0]
    assert sandbox.bot_messages(sandbox.general) == []


LOST = pytest.mark.parametrize("status", [None, 502], ids=["cut", "502"])
"""The connection ends without an answer, or one of Discord's machines answers for another."""


@LOST
async def test_a_further_part_whose_answer_is_lost_is_not_posted_twice_where_nonces_are_not(
    status: int | None, sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    sandbox.deny_bot(sandbox.general, May.SEND)
    called = await call(sandbox)
    job = await engine.take()
    sandbox.faults.lose(FOLLOW_UP, status=status)
    await engine.end(job, " upon" * 600)
    await until_over(queue, bot)
    assert count(sandbox, "POST", "/webhooks") == 1
    assert called.original
    assert sandbox.bot_messages(sandbox.general) == [called.original, *called.followups]
    [rest] = called.followups
    words = called.original.content.removeprefix(HEAD) + " " + rest.content
    assert words.removeprefix(LABEL).split().count("upon") == 600


async def test_a_bot_that_ends_before_it_notes_a_follow_up_finds_it_in_the_history(
    sandbox: Sandbox, redis_url: str, engine: Engine, queue: JobQueue
):
    sandbox.deny_bot(sandbox.general, May.SEND)
    async with running_bot(sandbox, redis_url):
        called = await call(sandbox)
        job = await engine.take()
        answer = sandbox.faults.hold_answer(FOLLOW_UP)
        await engine.write(job, " upon" * 600)
        await sandbox.wait_for(lambda: called.followups, DEADLINE_S)
    answer.set()
    async with running_bot(sandbox, redis_url) as restarted:
        await engine.end(job, " a time")
        await until_over(queue, restarted)
    [rest] = called.followups
    assert rest.content.endswith(" a time")
    assert count(sandbox, "POST", "/webhooks") == 1
