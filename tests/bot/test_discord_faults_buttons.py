"""Buttons whose press cannot be answered, comes twice, or comes while Redis is away."""

import asyncio

import pytest

from bot import replies
from bot.client import BotClient
from sandbox.model import Interaction, Message
from sandbox.redis_server import RedisServer
from sandbox.server import Sandbox
from tests.bot.support import (
    DEADLINE_S,
    LABEL,
    Engine,
    running_bot,
    until,
    until_over,
    warnings,
)
from tests.bot.test_details import MADE
from wire.queue import JobQueue

CALLBACK = "POST /interactions/*"
SPOILT = ("3 s have passed", "503", "the answer is lost")


def spoil(sandbox: Sandbox, fault: str, num_503: int) -> None:
    """Let the next answer to a press go wrong; a 503 comes as often as the library asks again."""
    match fault:
        case "3 s have passed":
            sandbox.faults.refuse(CALLBACK, 404, code=10062)
        case "503":
            sandbox.faults.refuse(CALLBACK, 503, times=num_503)
        case _:
            sandbox.faults.lose(CALLBACK)


async def press(sandbox: Sandbox, reply: Message, label: str) -> Interaction:
    button = reply.button(label)
    assert button
    return await sandbox.press(sandbox.bob, reply, button.custom_id)


async def test_a_button_that_is_pressed_twice_stops_the_reply_once(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    asked = await sandbox.say(sandbox.bob, sandbox.general, f"{sandbox.bot_user.mention} Once")
    job = await engine.take()
    await engine.write(job, " upon")
    reply = await sandbox.wait_for_reply(asked)
    presses = [await press(sandbox, reply, "Stop") for _ in range(2)]
    await sandbox.wait_for(lambda: all(each.answered for each in presses), DEADLINE_S)
    await sandbox.wait_for(lambda: not reply.buttons, DEADLINE_S)
    await engine.end(job)
    await until_over(queue, bot)
    assert reply.content.startswith(f"{LABEL}\n upon")
    assert sandbox.bot_messages(sandbox.general) == [reply]


@pytest.mark.parametrize("fault", SPOILT)
async def test_a_button_stops_the_reply_though_its_press_cannot_be_answered(
    fault: str,
    sandbox: Sandbox,
    naps,
    bot: BotClient,
    engine: Engine,
    caplog: pytest.LogCaptureFixture,
):
    asked = await sandbox.say(sandbox.bob, sandbox.general, f"{sandbox.bot_user.mention} Once")
    job = await engine.take()
    await engine.write(job, " upon")
    reply = await sandbox.wait_for_reply(asked)
    spoil(sandbox, fault, 9)
    await press(sandbox, reply, "Stop")
    async with asyncio.timeout(DEADLINE_S):
        while await engine.write(job, "") != 2:
            await asyncio.sleep(0.01)
    await sandbox.wait_for(lambda: not reply.buttons, DEADLINE_S)
    assert warnings(caplog) == []


async def test_a_button_that_is_pressed_while_redis_is_away_says_so_in_private(
    sandbox: Sandbox, own_redis_server: RedisServer
):
    async with running_bot(sandbox, own_redis_server.url):
        words = f"{sandbox.bot_user.mention} Once"
        asked = await sandbox.say(sandbox.bob, sandbox.general, words)
        reply = await sandbox.wait_for_reply(asked)
        await own_redis_server.kill()
        pressed = await press(sandbox, reply, "Stop")
        await sandbox.wait_for(lambda: pressed.followups, DEADLINE_S)
        [told] = pressed.followups
        assert told.content == replies.REDIS_AWAY
        assert told.visible_to == sandbox.bob
        assert reply.buttons
        await own_redis_server.restart()


@pytest.mark.parametrize("fault", SPOILT)
async def test_details_that_could_not_be_told_are_told_at_the_next_press(
    fault: str,
    sandbox: Sandbox,
    naps,
    bot: BotClient,
    engine: Engine,
    caplog: pytest.LogCaptureFixture,
):
    asked = await sandbox.say(sandbox.bob, sandbox.general, f"{sandbox.bot_user.mention} Once")
    await engine.end(await engine.take(), " upon", provenance=MADE)
    reply = await sandbox.wait_for_reply(asked)
    await sandbox.wait_for(lambda: reply.button("Details"), DEADLINE_S)
    spoil(sandbox, fault, 5)
    first = await press(sandbox, reply, "Details")
    await until(lambda: sandbox.faults.is_used_up(CALLBACK))
    again = await press(sandbox, reply, "Details")
    await sandbox.wait_for(lambda: again.original, DEADLINE_S)
    assert again.original
    assert again.original.visible_to == sandbox.bob
    assert (first.original is not None) == (fault == "the answer is lost")
    assert warnings(caplog) == []
