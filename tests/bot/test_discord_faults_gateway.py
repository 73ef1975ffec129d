"""Whatever becomes of the gateway and in whatever order its events come: one answer to each."""

import asyncio
import copy

import pytest

from bot.client import BotClient
from sandbox.model import Message
from sandbox.server import Sandbox
from tests.bot.support import DEADLINE_S, LABEL, Engine, running_bot, until_is, until_over
from wire.queue import JobQueue

POST = "POST /channels/{channel_id}/messages"
HEAD = f"{LABEL}\n-# Alice asked for a text.\n"


async def ask(sandbox: Sandbox, words: str = "Once") -> Message:
    return await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} {words}")


async def until_connected_again(sandbox: Sandbox, before: object) -> None:
    """Wait until another connection than this one carries a session."""

    def is_another() -> bool:
        sessions = sandbox.gateway.sessions.values()
        return any(each.connection not in {None, before} for each in sessions)

    await sandbox.wait_for(is_another, DEADLINE_S)


def connection_of(sandbox: Sandbox) -> object:
    [session] = sandbox.gateway.sessions.values()
    return session.connection


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """discord.py waits 5 s before each later IDENTIFY, in this hook."""

    async def wait(*_: object, **__: object) -> None:
        return

    monkeypatch.setattr(BotClient, "before_identify_hook", wait)


@pytest.mark.parametrize("how", ["dropped", "asked to reconnect", "invalid but resumable"])
async def test_nothing_is_lost_or_doubled_by_a_session_that_goes_on_after_it_was(
    how: str, sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    asked = await ask(sandbox)
    job = await engine.take()
    await engine.write(job, " upon")
    reply = await sandbox.wait_for_reply(asked)
    before = connection_of(sandbox)
    match how:
        case "dropped":
            await sandbox.gateway.drop()
        case "asked to reconnect":
            sandbox.gateway.ask_to_reconnect()
        case _:
            sandbox.gateway.invalidate(resumable=True)
    meanwhile = await ask(sandbox)
    called = await sandbox.slash(sandbox.alice, sandbox.general, "generate")
    for _ in range(2):
        await engine.end(await engine.take(), " there")
    await engine.end(job, " a time")
    await until_is(sandbox, reply, f"{LABEL}\n upon a time")
    await until_is(sandbox, await sandbox.wait_for_reply(meanwhile), f"{LABEL}\n there")
    await until_over(queue, bot)
    await until_connected_again(sandbox, before)
    assert called.original
    assert called.original.content == f"{HEAD} there"
    assert len(sandbox.bot_messages(sandbox.general)) == 3
    assert len(sandbox.gateway.sessions) == 1


@pytest.mark.parametrize("how", ["dropped", "invalid"])
async def test_replies_go_on_and_new_ones_begin_when_a_session_is_forgotten(
    how: str, sandbox: Sandbox, at_once, bot: BotClient, engine: Engine, queue: JobQueue
):
    asked = await ask(sandbox)
    job = await engine.take()
    await engine.write(job, " upon")
    reply = await sandbox.wait_for_reply(asked)
    before = connection_of(sandbox)
    if how == "dropped":
        await sandbox.gateway.drop(resumable=False)
    else:
        sandbox.gateway.invalidate(resumable=False)
    await engine.end(job, " a time")
    await until_is(sandbox, reply, f"{LABEL}\n upon a time")
    await until_connected_again(sandbox, before)
    again = await ask(sandbox)
    await engine.end(await engine.take(), " there")
    await until_is(sandbox, await sandbox.wait_for_reply(again), f"{LABEL}\n there")
    await until_over(queue, bot)
    assert len(sandbox.bot_messages(sandbox.general)) == 2


async def test_a_gateway_that_only_seems_to_be_there_is_left_and_nothing_is_lost(
    sandbox: Sandbox, redis_url: str, engine: Engine
):
    async with running_bot(sandbox, redis_url) as bot:
        # The library waits a minute for a sign of life; it takes the new bounds with a connection.
        sandbox.gateway.heartbeat_interval_ms = 500
        bot._connection.heartbeat_timeout = 3.0
        first = connection_of(sandbox)
        await sandbox.gateway.drop()
        await until_connected_again(sandbox, first)
        second = connection_of(sandbox)
        sandbox.gateway.fall_silent()
        asked = await ask(sandbox)
        await until_connected_again(sandbox, second)
        await engine.end(await engine.take(), " upon")
        await until_is(sandbox, await sandbox.wait_for_reply(asked), f"{LABEL}\n upon")
    assert len(sandbox.bot_messages(sandbox.general)) == 1


async def test_of_two_mentions_the_later_may_come_first(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    with sandbox.gateway.reversed_order():
        asked = {word: await ask(sandbox, word) for word in ("one", "two")}
    for _ in asked:
        job = await engine.take()
        await engine.end(job, f" answers {job.prompt}")
    for word, each in asked.items():
        reply = await sandbox.wait_for_reply(each)
        await until_is(sandbox, reply, f"{LABEL}\n answers {word}")
    await until_over(queue, bot)
    assert len(sandbox.bot_messages(sandbox.general)) == 2


async def test_what_is_told_again_after_its_answer_is_not_answered_again(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    asked = await ask(sandbox)
    called = await sandbox.slash(sandbox.alice, sandbox.general, "generate")
    for _ in range(2):
        await engine.end(await engine.take(), " upon")
    await sandbox.wait_for_reply(asked)
    await until_over(queue, bot)
    before = sandbox.bot_messages(sandbox.general)
    await sandbox.gateway.drop()
    sandbox.world.publish("MESSAGE_CREATE", asked)
    sandbox.world.publish("INTERACTION_CREATE", called)
    last = await sandbox.say(sandbox.bob, sandbox.random, f"{sandbox.bot_user.mention} last")
    job = await engine.take()
    assert job.prompt == "last"
    await engine.end(job, "!")
    await sandbox.wait_for_reply(last)
    await until_over(queue, bot)
    assert sandbox.bot_messages(sandbox.general) == before
    assert len(before) == 2


async def test_a_button_that_is_pressed_before_the_bot_knows_its_message_stops_the_reply(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    posted = sandbox.faults.hold_answer(POST)
    asked = await ask(sandbox)
    job = await engine.take()
    await engine.write(job, " upon")
    reply = await sandbox.wait_for_reply(asked)
    button = reply.button("Stop")
    assert button
    press = await sandbox.press(sandbox.alice, reply, button.custom_id)
    await sandbox.wait_for(lambda: press.answered, DEADLINE_S)
    async with asyncio.timeout(DEADLINE_S):
        while await engine.write(job, "") != 2:
            await asyncio.sleep(0.01)
    posted.set()
    await sandbox.wait_for(lambda: not reply.buttons, DEADLINE_S)


async def test_what_is_said_in_a_server_that_was_not_told_of_yet_is_no_direct_message(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    heard: list[dict[str, object]] = []
    [session] = sandbox.gateway.sessions.values()
    dispatch = session.dispatch

    def listen(name: str, data: dict[str, object], copies: int = 1) -> None:
        if name == "MESSAGE_CREATE":
            heard.append(copy.deepcopy(data))
        dispatch(name, data, copies)

    session.dispatch = listen  # type: ignore[method-assign]
    await sandbox.say(sandbox.bob, sandbox.general, "nothing for the bot")
    [said] = heard
    dispatch("MESSAGE_CREATE", {**said, "id": str(sandbox.world.new_id()), "guild_id": "77"})
    asked = await ask(sandbox, "something")
    job = await engine.take()
    assert job.prompt == "something"
    await engine.end(job, "!")
    await sandbox.wait_for_reply(asked)
    await engine.take_nothing()
    await until_over(queue, bot)
