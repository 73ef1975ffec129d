"""One private answer to every question of where a text comes from, whatever fails in between."""

import time

import pytest
from redis.asyncio import Redis

from bot import intake, replies, verify_source
from bot.client import BotClient
from sandbox.model import Interaction
from sandbox.rules import Upload
from sandbox.server import Sandbox
from tests.bot.support import DEADLINE_S, NOWHERE, Engine, running_bot, until_is, until_over
from tests.wire.support import lapse
from wire.queue import JobQueue
from wire.verdicts import Verdict, Verified

OURS = Verified(verdict=Verdict.OURS, num_scored=88, p_value=3e-12, key="ab12cd34")
CDN = "GET /ephemeral-attachments/*"
CALLBACK = "POST /interactions/*"
EDIT = "PATCH /webhooks/*"
FILE = Upload("story.txt", "text/plain", b"The old lighthouse keeper counted the ships.")


async def verify(sandbox: Sandbox, **options: object) -> Interaction:
    given = options or {"text": "The old lighthouse keeper counted the ships."}
    return await sandbox.slash(sandbox.alice, sandbox.general, "verify", given)


async def until_answered(sandbox: Sandbox, asked: Interaction, content: str) -> None:
    """Wait until the answer is this; nobody else may see it, and nothing else may be said."""
    await sandbox.wait_for(lambda: asked.original and asked.original.content == content, DEADLINE_S)
    assert asked.original
    assert asked.original.visible_to == sandbox.alice
    assert sandbox.bot_messages(sandbox.general) == [asked.original]
    assert sandbox.bot_messages(sandbox.dm(sandbox.alice)) == []


async def test_a_bot_that_is_killed_before_the_answer_gives_it_when_it_is_back(
    sandbox: Sandbox, engine: Engine, child_bot
):
    bot = await child_bot()
    asked = await verify(sandbox, file=FILE)
    job = await engine.take()
    bot.process.kill()
    await bot.until_it_ends()
    await engine.answer(job, OURS)
    await child_bot()
    await until_answered(sandbox, asked, f"{OURS.sentence()}\n-# Looked at: story\\.txt.")


async def test_an_event_that_comes_six_times_is_one_question(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    sandbox.gateway.event_copies = 6
    sandbox.faults.lose(CALLBACK)
    asked = await verify(sandbox)
    await engine.answer(await engine.take(), OURS)
    await until_answered(sandbox, asked, OURS.sentence())
    await until_over(queue, bot)
    await engine.take_nothing()


async def test_two_bots_under_one_name_give_one_answer(
    sandbox: Sandbox, redis_url: str, engine: Engine, queue: JobQueue
):
    async with running_bot(sandbox, redis_url) as bot, running_bot(sandbox, redis_url):
        asked = await verify(sandbox)
        await engine.answer(await engine.take(), OURS)
        await until_over(queue, bot)
        await engine.take_nothing()
        await until_answered(sandbox, asked, OURS.sentence())


async def test_an_edit_that_discord_refuses_for_a_while_or_whose_answer_is_lost_is_repeated(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    sandbox.faults.refuse(EDIT, 503)
    sandbox.faults.lose(EDIT)
    asked = await verify(sandbox)
    await engine.answer(await engine.take(), OURS)
    await until_over(queue, bot)
    await until_answered(sandbox, asked, OURS.sentence())


async def test_an_answer_whose_15_minutes_are_over_is_never_given_in_the_channel(
    redis_url: str, engine: Engine, queue: JobQueue
):
    passed_s = 0.0
    sandbox = Sandbox(limits={}, clock=lambda: time.monotonic() + passed_s)
    async with sandbox:
        async with running_bot(sandbox, redis_url):
            asked = await verify(sandbox)
            job = await engine.take()
        passed_s = 16 * 60
        await engine.answer(job, OURS)
        async with running_bot(sandbox, redis_url) as restarted:
            await until_over(queue, restarted)
        assert sandbox.bot_messages(sandbox.general) == [asked.original]
        assert asked.original
        assert OURS.sentence() not in asked.original.content
        assert sandbox.bot_messages(sandbox.dm(sandbox.alice)) == []


async def test_a_question_that_redis_has_lost_is_never_spoken_of_in_the_channel(
    sandbox: Sandbox, redis_url: str, redis: Redis, engine: Engine, queue: JobQueue
):
    async with running_bot(sandbox, redis_url):
        await verify(sandbox)
        job = await engine.take()
    await redis.delete(f"{{ovid:0}}:job:{job.job_id}")
    before = sandbox.bot_messages(sandbox.general)
    async with running_bot(sandbox, redis_url) as restarted:
        await until_over(queue, restarted)
    assert sandbox.bot_messages(sandbox.general) == before
    assert all(message.visible_to == sandbox.alice for message in before)


async def test_an_engine_that_is_lost_is_said_and_another_one_answers(
    sandbox: Sandbox, bot: BotClient, engine: Engine, redis: Redis
):
    asked = await verify(sandbox)
    job = await Engine(redis, "lost").take()
    await sandbox.wait_for(
        lambda: asked.original and asked.original.content == replies.LOOKING, DEADLINE_S
    )
    await lapse(redis, job.job_id)
    await until_answered(sandbox, asked, replies.LOOKING_AGAIN)
    again = await engine.take()
    assert again.prompt == job.prompt
    await engine.answer(again, OURS)
    await until_answered(sandbox, asked, OURS.sentence())


async def test_a_question_that_nobody_looked_at_in_time_ends_with_a_word(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue, expire
):
    asked = await verify(sandbox)
    await sandbox.wait_for(lambda: asked.original and asked.original.content, DEADLINE_S)
    [job_id] = await queue.own(str(sandbox.bot_user.id))
    record = await queue.snapshot(job_id)
    assert record
    lasts_s = record.job.deadline_unix_ms / 1000 - time.time()
    assert intake.VERIFY_DEADLINE_S - DEADLINE_S < lasts_s <= intake.VERIFY_DEADLINE_S
    await expire()
    await until_over(queue, bot)
    said = "⚠️ No engine came to look at it in time. Please ask again in a few minutes."
    await until_answered(sandbox, asked, said)


async def test_a_question_that_is_taken_back_says_so(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    asked = await verify(sandbox)
    await sandbox.wait_for(lambda: asked.original and asked.original.content, DEADLINE_S)
    [job_id] = await queue.own(str(sandbox.bot_user.id))
    assert await queue.cancel(job_id)
    await until_answered(sandbox, asked, replies.STOPPED)
    await engine.take_nothing()


async def test_while_redis_is_away_the_person_hears_so(sandbox: Sandbox):
    async with running_bot(sandbox, NOWHERE):
        asked = await verify(sandbox)
        await until_answered(sandbox, asked, replies.REDIS_AWAY)


async def test_a_cdn_that_does_not_answer_is_given_up_with_a_sentence(
    sandbox: Sandbox, bot: BotClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(verify_source, "DOWNLOAD_WITHIN_S", 0.05)
    sandbox.faults.hold(CDN)
    asked = await verify(sandbox, file=FILE)
    await until_answered(sandbox, asked, replies.FILE_AWAY)
    await engine.take_nothing()


@pytest.mark.parametrize("fault", ["cut", "gone", "out of order"])
async def test_a_file_that_is_not_to_be_had_is_given_up_with_a_sentence(
    sandbox: Sandbox, bot: BotClient, engine: Engine, fault: str
):
    if fault == "cut":
        # aiohttp asks once more by itself.
        sandbox.faults.lose(CDN, times=3)
    else:
        sandbox.faults.refuse(CDN, 404 if fault == "gone" else 503)
    asked = await verify(sandbox, file=FILE)
    await until_answered(sandbox, asked, replies.FILE_AWAY)
    await engine.take_nothing()


async def test_a_fault_that_nobody_foresaw_is_said_in_private(
    sandbox: Sandbox, bot: BotClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(verify_source, "MAX_FILE_BYTES", "no number")
    asked = await verify(sandbox, file=FILE)
    await sandbox.wait_for(lambda: asked.original, DEADLINE_S)
    assert asked.original
    await until_is(sandbox, asked.original, replies.FAILED_HERE)
    assert asked.original.visible_to == sandbox.alice
