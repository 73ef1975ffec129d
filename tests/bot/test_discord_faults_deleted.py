"""A message, a channel or a right that goes away under a reply: no loop, and a word if one can be.

What nobody can see any more is computed no further.
"""

import logging

import pytest

from bot import replies
from bot.client import BotClient
from sandbox.model import Channel, Message
from sandbox.rights import May
from sandbox.server import Sandbox
from tests.bot.support import (
    DEADLINE_S,
    LABEL,
    MARK,
    Engine,
    text_of,
    told_in_private,
    until,
    until_is,
    until_over,
    warnings,
)
from wire.jobs import Job
from wire.queue import JobQueue

POST = "POST /channels/{channel_id}/messages"
STORY = "The old lighthouse keeper counted the ships again. " * 60
EVERYTHING = May.VIEW | May.SEND | May.READ_HISTORY


async def ask(sandbox: Sandbox) -> Message:
    words = f"{sandbox.bot_user.mention} Once"
    return await sandbox.say(sandbox.bob, sandbox.general, words)


async def begin(sandbox: Sandbox, engine: Engine, text: str = " upon") -> tuple[Job, list[Message]]:
    """Let Bob ask and the bot begin to answer, in one part or two."""
    await ask(sandbox)
    job = await engine.take()
    await engine.write(job, text)
    num_parts = 2 if len(text) > 2000 else 1
    await sandbox.wait_for(
        lambda: (
            len(parts := sandbox.bot_messages(sandbox.general)) == num_parts
            and parts[-1].content.endswith(MARK)
        ),
        DEADLINE_S,
    )
    return job, sandbox.bot_messages(sandbox.general)


async def assert_stopped(queue: JobQueue, bot: BotClient, engine: Engine, job: Job) -> None:
    """The bot is done with the job, and so is the engine."""
    await until_over(queue, bot)
    assert await engine.write(job, "") == 2
    await engine.end(job)


def no_rights_in(channel: Channel) -> list[str]:
    return [replies.cannot_write(channel.id)]


async def test_a_reply_goes_on_without_the_message_that_asked(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    asked = await ask(sandbox)
    job = await engine.take()
    await engine.write(job, " upon")
    reply = await sandbox.wait_for_reply(asked)
    await sandbox.delete(sandbox.bob, asked)
    await engine.end(job, " a time")
    await until_is(sandbox, reply, f"{LABEL}\n upon a time")
    await until_over(queue, bot)
    assert sandbox.bot_messages(sandbox.general) == [reply]


async def test_a_message_that_is_deleted_before_its_answer_is_answered_without_a_reference(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    asked = await ask(sandbox)
    await sandbox.delete(sandbox.bob, asked)
    await engine.end(await engine.take(), " upon")
    await until_over(queue, bot)
    [reply] = sandbox.bot_messages(sandbox.general)
    assert reply.content == f"{LABEL}\n upon"


async def test_a_reply_whose_first_part_is_deleted_goes_on_in_the_second(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    job, [first, second] = await begin(sandbox, engine, STORY)
    await sandbox.delete(sandbox.alice, first)
    await engine.end(job, "The end.")
    await until_over(queue, bot)
    assert sandbox.bot_messages(sandbox.general) == [second]
    assert text_of([second]).endswith("The end.")


@pytest.mark.parametrize("which", ["the last part", "all parts"])
async def test_a_reply_is_stopped_when_somebody_deletes(
    which: str,
    sandbox: Sandbox,
    bot: BotClient,
    engine: Engine,
    queue: JobQueue,
    caplog: pytest.LogCaptureFixture,
):
    job, parts = await begin(sandbox, engine, STORY)
    for part in parts[1:] if which == "the last part" else parts:
        await sandbox.delete(sandbox.alice, part)
    await engine.write(job, "And then.")
    await assert_stopped(queue, bot, engine, job)
    assert sandbox.bot_messages(sandbox.general) == []
    assert told_in_private(sandbox) == warnings(caplog) == []


@pytest.mark.usefixtures("no_notices")
@pytest.mark.parametrize("when", ["while the job waits", "while the reply streams"])
async def test_a_channel_that_is_deleted_stops_its_replies(
    when: str,
    sandbox: Sandbox,
    bot: BotClient,
    engine: Engine,
    queue: JobQueue,
    caplog: pytest.LogCaptureFixture,
):
    if when == "while the job waits":
        await ask(sandbox)
        sandbox.delete_channel(sandbox.general)
        job = await engine.take()
        await engine.write(job, " upon")
    else:
        job, _ = await begin(sandbox, engine)
        sandbox.delete_channel(sandbox.general)
        await engine.write(job, " a time")
    await assert_stopped(queue, bot, engine, job)
    assert told_in_private(sandbox) == warnings(caplog) == []
    statuses = [each.status for each in sandbox.recorder if each.status == 404]
    assert 1 <= len(statuses) <= 3


async def test_a_reply_that_began_where_the_bot_may_no_longer_write_is_finished(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    job, [reply] = await begin(sandbox, engine)
    sandbox.deny_bot(sandbox.general, May.SEND)
    await engine.end(job, " a time")
    await until_over(queue, bot)
    assert reply.content == f"{LABEL}\n upon a time"
    assert told_in_private(sandbox) == []


async def test_a_reply_that_needs_a_part_that_it_may_not_write_is_taken_back_with_a_word(
    sandbox: Sandbox,
    bot: BotClient,
    engine: Engine,
    queue: JobQueue,
    caplog: pytest.LogCaptureFixture,
):
    job, _ = await begin(sandbox, engine)
    sandbox.deny_bot(sandbox.general, May.SEND)
    await engine.write(job, STORY)
    await assert_stopped(queue, bot, engine, job)
    assert sandbox.bot_messages(sandbox.general) == []
    await sandbox.wait_for(lambda: told_in_private(sandbox), DEADLINE_S)
    assert told_in_private(sandbox) == no_rights_in(sandbox.general)
    assert len(warnings(caplog)) == 1


async def test_where_the_bot_may_not_write_who_asks_is_told_in_private_and_nothing_is_written(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    sandbox.deny_bot(sandbox.general, May.SEND)
    asked = await ask(sandbox)
    await sandbox.wait_for(lambda: told_in_private(sandbox), DEADLINE_S)
    assert told_in_private(sandbox) == no_rights_in(asked.channel)
    await engine.take_nothing()
    # Ten thousand of them in ten minutes, and Discord shuts the address out.
    assert not any(each.status == 403 for each in sandbox.recorder)


@pytest.mark.usefixtures("no_notices")
@pytest.mark.parametrize("how", ["may not write", "may not look in"])
async def test_who_asked_just_before_the_bot(
    how: str,
    sandbox: Sandbox,
    bot: BotClient,
    engine: Engine,
    queue: JobQueue,
    caplog: pytest.LogCaptureFixture,
):
    asked = await ask(sandbox)
    job = await engine.take()
    sandbox.deny_bot(sandbox.general, May.SEND if how == "may not write" else EVERYTHING)
    await engine.write(job, " upon")
    await assert_stopped(queue, bot, engine, job)
    await sandbox.wait_for(lambda: told_in_private(sandbox), DEADLINE_S)
    assert told_in_private(sandbox) == no_rights_in(asked.channel)
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("how", ["loses sight of the channel", "is kicked from the server"])
async def test_a_reply_is_stopped_with_a_word_when_the_bot(
    how: str,
    sandbox: Sandbox,
    bot: BotClient,
    engine: Engine,
    queue: JobQueue,
    caplog: pytest.LogCaptureFixture,
):
    job, _ = await begin(sandbox, engine)
    if how == "is kicked from the server":
        sandbox.kick_bot()
    else:
        sandbox.deny_bot(sandbox.general, EVERYTHING)
    await engine.write(job, " a time")
    await assert_stopped(queue, bot, engine, job)
    await sandbox.wait_for(lambda: told_in_private(sandbox), DEADLINE_S)
    assert told_in_private(sandbox) == no_rights_in(sandbox.general)
    assert len(warnings(caplog)) == 1
    assert sum(each.status == 403 for each in sandbox.recorder) <= 3


async def test_where_the_bot_may_not_read_what_was_said_it_answers_without_a_reference(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    sandbox.deny_bot(sandbox.general, May.READ_HISTORY)
    await ask(sandbox)
    await engine.end(await engine.take(), " upon")
    await until_over(queue, bot)
    [reply] = sandbox.bot_messages(sandbox.general)
    assert reply.content == f"{LABEL}\n upon"
    assert reply.reference is None


@pytest.mark.usefixtures("no_notices")
@pytest.mark.parametrize("route", ["POST /users/@me/channels", POST])
async def test_a_word_in_private_is_said_once_in_spite_of_faults(
    route: str, sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    await ask(sandbox)
    job = await engine.take()
    sandbox.kick_bot()
    # The first is the reply's own, which no fault is needed to refuse.
    if route == POST:
        sandbox.faults.refuse(POST, 403, code=50001)
    sandbox.faults.refuse(route, 503)
    sandbox.faults.lose(route)
    await engine.write(job, " upon")
    await sandbox.wait_for(lambda: told_in_private(sandbox), DEADLINE_S)
    await until(lambda: sandbox.faults.is_used_up(route))
    await until(lambda: not bot._follower or not bot._follower.num_live)
    assert told_in_private(sandbox) == no_rights_in(sandbox.general)


async def test_a_person_who_cannot_be_told_at_all_costs_one_refusal_for_each_question(
    sandbox: Sandbox, bot: BotClient, engine: Engine, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    sandbox.block_bot(sandbox.bob)
    sandbox.deny_bot(sandbox.general, May.SEND)
    for _ in range(2):
        caplog.clear()
        await ask(sandbox)
        await until(lambda: "telling so in private failed too" in caplog.text)
        assert " ending=refused reason=may_not_write " in caplog.text
    assert sum(each.status == 403 for each in sandbox.recorder) == 2
    assert warnings(caplog) == told_in_private(sandbox) == []
    await engine.take_nothing()


@pytest.mark.usefixtures("no_notices")
async def test_a_direct_message_from_who_blocks_the_bot_ends_quietly(
    sandbox: Sandbox,
    bot: BotClient,
    engine: Engine,
    queue: JobQueue,
    caplog: pytest.LogCaptureFixture,
):
    await sandbox.say(sandbox.bob, sandbox.dm(sandbox.bob), "Once")
    sandbox.block_bot(sandbox.bob)
    job = await engine.take()
    await engine.write(job, " upon")
    await assert_stopped(queue, bot, engine, job)
    assert len(warnings(caplog)) == 1
    assert told_in_private(sandbox) == []
