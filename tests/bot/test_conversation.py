"""The real client in a local Discord, with an engine played by hand at the real queue."""

import time
from collections.abc import Coroutine
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from discord.http import HTTPClient, Route

from bot import replies
from bot.client import BotClient
from sandbox.model import Flags
from sandbox.server import Sandbox
from tests.bot.support import (
    LABEL,
    MARK,
    Engine,
    running_bot,
    text_of,
    until_is,
    until_over,
    until_says,
)
from wire.jobs import FinishReason
from wire.queue import JobQueue

STORY = "The old lighthouse keeper counted the ships again. " * 60


async def test_a_mention_gets_a_labelled_reply_that_grows_and_is_done(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    asked = await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} Once")
    job = await engine.take()
    assert job.prompt == "Once"
    await sandbox.wait_for(lambda: sandbox.typing)
    assert [typing.user for typing in sandbox.typing] == [sandbox.bot_user]
    await engine.write(job, " upon")
    reply = await sandbox.wait_for_reply(asked)
    await until_is(sandbox, reply, f"{LABEL}\n upon{MARK}")
    assert reply.button("Stop")
    assert reply.flags & Flags.SUPPRESS_EMBEDS
    await engine.write(job, " a time")
    await until_is(sandbox, reply, f"{LABEL}\n upon a time{MARK}")
    await engine.end(job, ".")
    await until_is(sandbox, reply, f"{LABEL}\n upon a time.")
    assert not reply.buttons
    assert sandbox.bot_messages(sandbox.general) == [reply]
    await until_over(queue, bot)


async def test_a_direct_message_is_a_prompt_without_a_mention(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    asked = await sandbox.say(sandbox.bob, sandbox.dm(sandbox.bob), "Once")
    job = await engine.take()
    assert job.prompt == "Once"
    await engine.end(job, " upon")
    reply = await sandbox.wait_for_reply(asked)
    await until_is(sandbox, reply, f"{LABEL}\n upon")


async def test_an_empty_mention_asks_for_an_unconditional_sample(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    asked = await sandbox.say(sandbox.alice, sandbox.general, sandbox.bot_user.mention)
    job = await engine.take()
    assert job.prompt == ""
    await engine.end(job, "Anything")
    await until_is(sandbox, await sandbox.wait_for_reply(asked), f"{LABEL}\nAnything")


async def test_only_people_who_speak_to_the_bot_are_answered(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    mention = sandbox.bot_user.mention
    await sandbox.say(sandbox.other_bot, sandbox.general, f"{mention} from a bot")
    await sandbox.say_as_webhook(sandbox.general, "news", f"{mention} from a webhook")
    await sandbox.say(sandbox.alice, sandbox.general, "to nobody")
    await sandbox.say(sandbox.alice, sandbox.general, "@everyone @here")
    await sandbox.say(sandbox.alice, sandbox.general, f"<@&{sandbox.guild.bot_role_id}> to a role")
    asked = await sandbox.say(sandbox.alice, sandbox.general, f"{mention} for you")
    job = await engine.take()
    assert job.prompt == "for you"
    await engine.end(job, " and me")
    reply = await sandbox.wait_for_reply(asked)
    await engine.take_nothing()
    assert sandbox.bot_messages(sandbox.general) == [reply]


async def test_a_long_reply_is_split_into_labelled_parts_and_only_the_last_has_the_button(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} Tell")
    job = await engine.take()
    for _ in range(2):
        await engine.write(job, STORY)

    def parts():
        return sandbox.bot_messages(sandbox.general)

    await sandbox.wait_for(lambda: len(parts()) == 4 and parts()[-1].button("Stop"))
    assert [bool(part.buttons) for part in parts()] == [False, False, False, True]
    await engine.end(job)
    await until_over(queue, bot)
    # Discord drops the blanks that a message ends with.
    assert text_of(parts()).split() == (STORY * 2).split()
    assert not any(part.buttons for part in parts())
    record = await queue.snapshot(job.job_id)
    assert record is not None
    assert record.message_ids == tuple(part.id for part in parts())


async def test_what_the_model_writes_stays_inert(sandbox: Sandbox, bot: BotClient, engine: Engine):
    asked = await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} Go")
    job = await engine.take()
    bob = sandbox.bob.mention
    await engine.end(job, f"@everyone {bob} # x\n{LABEL}\n[a](https://example.com) discord.gg/abc")
    reply = await sandbox.wait_for_reply(asked)
    forged = LABEL.replace("-#", r"\-\#")
    await until_is(
        sandbox,
        reply,
        f"{LABEL}\n\\@everyone \\<\\{bob[1:]} # x\n{forged}\n"
        r"\[a](https\:\/\/example\.com) discord\.gg\/abc",
    )


async def test_who_asked_can_stop_and_the_engine_hears_of_it(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    asked = await sandbox.say(sandbox.bob, sandbox.general, f"{sandbox.bot_user.mention} Tell")
    job = await engine.take()
    await engine.write(job, " much")
    reply = await sandbox.wait_for_reply(asked)
    button = reply.button("Stop")
    assert button
    press = await sandbox.press(sandbox.bob, reply, button.custom_id)
    await sandbox.wait_for(lambda: press.answered)
    await sandbox.wait_for(lambda: not reply.buttons)
    assert await engine.write(job, "") == 2
    await engine.end(job, reason=FinishReason.CANCELLED)
    await until_is(sandbox, reply, f"{LABEL}\n much\n{replies.STOPPED}")
    await until_over(queue, bot)


async def test_only_who_asked_or_manages_messages_can_stop(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    asked = await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} Tell")
    job = await engine.take()
    await engine.write(job, " much")
    reply = await sandbox.wait_for_reply(asked)
    button = reply.button("Stop")
    assert button
    press = await sandbox.press(sandbox.bob, reply, button.custom_id)
    await sandbox.wait_for(lambda: press.original)
    assert press.original
    assert press.original.content == replies.NOT_YOURS
    assert press.original.visible_to == sandbox.bob
    assert await engine.write(job, "") == 1
    await sandbox.press(sandbox.alice, reply, button.custom_id)
    await sandbox.wait_for(lambda: not reply.buttons)
    assert await engine.write(job, "") == 2


async def test_a_manager_can_stop_somebody_elses_reply(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    asked = await sandbox.say(sandbox.bob, sandbox.general, f"{sandbox.bot_user.mention} Tell")
    reply = await sandbox.wait_for_reply(asked)
    button = reply.button("Stop")
    assert button
    await sandbox.press(sandbox.alice, reply, button.custom_id)
    await until_says(sandbox, reply, replies.STOPPED)
    await engine.take_nothing()


async def test_who_waits_sees_a_place_in_line(sandbox: Sandbox, bot: BotClient, engine: Engine):
    await sandbox.say(sandbox.alice, sandbox.random, f"{sandbox.bot_user.mention} first")

    def has_taken_in(number: int) -> bool:
        return len(sandbox.typing) == number

    first = await engine.take()
    await sandbox.wait_for(partial(has_taken_in, 1))
    for num_taken_in, word in ((2, "second"), (3, "third")):
        await sandbox.say(sandbox.alice, sandbox.random, f"{sandbox.bot_user.mention} {word}")
        await sandbox.wait_for(partial(has_taken_in, num_taken_in))
    asked = await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} me")
    await engine.appear()
    reply = await sandbox.wait_for_reply(asked)
    await until_says(sandbox, reply, "You are 3rd in line.")
    await engine.end(first, ".")
    await engine.take()
    await engine.take()
    await until_says(sandbox, reply, "You are next in line.")


async def test_without_an_engine_the_person_is_told_at_once_and_at_the_deadline(
    sandbox: Sandbox, bot: BotClient, queue: JobQueue, expire
):
    asked = await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} Hi")
    reply = await sandbox.wait_for_reply(asked)
    assert "No engine is running right now. Your request stays in line until <t:" in reply.content
    assert reply.button("Stop")
    await expire()
    await until_over(queue, bot)
    assert reply.content.startswith("⚠️")
    assert "too long" in reply.content or "No engine" in reply.content
    assert not reply.buttons


@pytest.mark.parametrize("word", ["once", "twice"])
async def test_a_reply_that_is_deleted_stops_its_job_quietly(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue, word: str
):
    await sandbox.say(sandbox.bob, sandbox.general, f"{sandbox.bot_user.mention} Tell")
    job = await engine.take()
    await engine.write(job, STORY if word == "twice" else word)
    wanted = 2 if word == "twice" else 1
    await sandbox.wait_for(lambda: len(sandbox.bot_messages(sandbox.general)) == wanted)
    await sandbox.delete(sandbox.alice, sandbox.bot_messages(sandbox.general)[-1])
    await engine.write(job, " more")
    await until_over(queue, bot)
    assert sandbox.bot_messages(sandbox.general) == []
    assert await engine.write(job, "") == 2


async def test_edits_in_a_channel_are_a_second_apart_and_the_last_one_comes(
    limited_sandbox: Sandbox, redis_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    # Told when they are sent: on a loaded machine one takes longer to arrive than the next.
    sent_s: list[float] = []
    request = HTTPClient.request

    def noted(self: HTTPClient, route: Route, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        if route.method == "PATCH":
            sent_s.append(time.monotonic())
        return request(self, route, **kwargs)

    monkeypatch.setattr(HTTPClient, "request", noted)
    sandbox = limited_sandbox
    async with running_bot(sandbox, redis_url, edit_interval_s=1.0):
        asked = [
            await sandbox.say(user, sandbox.general, f"{sandbox.bot_user.mention} Tell")
            for user in (sandbox.alice, sandbox.bob)
        ]
        jobs = [await engine.take() for _ in asked]
        for job in jobs:
            await engine.write(job, " word")
        both = [await sandbox.wait_for_reply(each) for each in asked]
        for word in ("one", "two"):
            for job in jobs:
                await engine.write(job, f" {word}")
            await until_says(sandbox, both[0], word)
        for job in jobs:
            await engine.end(job, " end")
        for reply in both:
            await until_is(sandbox, reply, f"{LABEL}\n word one two end")
    assert len(sent_s) >= 4
    assert all(later - earlier > 0.5 for earlier, later in pairwise(sent_s))
