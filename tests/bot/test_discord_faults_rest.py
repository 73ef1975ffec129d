"""Whatever Discord answers, or does not: each request gets its one reply, and no other waits."""

import asyncio
import itertools
import time
from collections.abc import Callable

import pytest

from bot import ban, discord_api
from bot.client import BotClient
from sandbox.faults import Faults, Scope
from sandbox.model import Channel, Message
from sandbox.server import Sandbox
from tests.bot.conftest import Naps
from tests.bot.support import (
    DEADLINE_S,
    LABEL,
    Engine,
    running_bot,
    until,
    until_is,
    until_over,
)
from wire.queue import JobQueue

POST = "POST /channels/{channel_id}/messages"
PATCH = "PATCH /channels/{channel_id}/messages/{message_id}"
TYPING = "POST /channels/{channel_id}/typing"
CALLBACK = "POST /interactions/*"
ANSWER = "PATCH /webhooks/*"
SYNC = "PUT /applications/*"
HEAD = f"{LABEL}\n-# Alice asked for a text.\n"

Order = Callable[[Faults, str], None]


def limited(scope: Scope | None) -> Order:
    return lambda faults, route: faults.refuse(route, 429, times=2, retry_after_s=7.5, scope=scope)


def refused(status: int) -> Order:
    return lambda faults, route: faults.refuse(route, status, times=2)


ORDERS: dict[str, Order] = {
    "429 of the bot": limited(Scope.USER),
    "429 of the channel": limited(Scope.SHARED),
    "429 of everything": limited(Scope.GLOBAL),
    "429 of nobody": limited(None),
    "500": refused(500),
    "502": refused(502),
    "503": refused(503),
    "504": refused(504),
    "cut before the work": lambda faults, route: faults.cut(route, times=2),
    "cut after the work": lambda faults, route: faults.lose(route, times=2),
    "502 after the work": lambda faults, route: faults.lose(route, times=2, status=502),
}


async def ask(sandbox: Sandbox, channel: Channel | None = None) -> Message:
    words = f"{sandbox.bot_user.mention} Once"
    return await sandbox.say(sandbox.alice, channel or sandbox.general, words)


@pytest.mark.parametrize("fault", ORDERS)
async def test_a_mention_is_answered_once_in_spite_of(
    fault: str, sandbox: Sandbox, naps: Naps, bot: BotClient, engine: Engine, queue: JobQueue
):
    for route in (TYPING, POST, PATCH):
        ORDERS[fault](sandbox.faults, route)
    asked = await ask(sandbox)
    job = await engine.take()
    await engine.write(job, " upon")
    reply = await sandbox.wait_for_reply(asked)
    await engine.end(job, " a time")
    await until_is(sandbox, reply, f"{LABEL}\n upon a time")
    await until_over(queue, bot)
    assert sandbox.bot_messages(sandbox.general) == [reply]
    if fault.startswith("429"):
        assert set(naps.wanted_s) - {0.0} == {7.5}


@pytest.mark.parametrize("fault", ORDERS)
async def test_a_command_is_answered_once_in_spite_of(
    fault: str, sandbox: Sandbox, naps: Naps, bot: BotClient, engine: Engine, queue: JobQueue
):
    for route in (CALLBACK, ANSWER):
        ORDERS[fault](sandbox.faults, route)
    called = await sandbox.slash(sandbox.alice, sandbox.general, "generate")
    job = await engine.take()
    await engine.write(job, " upon")
    await engine.end(job, " a time")
    await until_over(queue, bot)
    assert called.original
    assert called.original.content == f"{HEAD} upon a time"
    assert sandbox.bot_messages(sandbox.general) == [called.original]


async def test_a_discord_that_shuts_the_bot_out_is_left_alone(
    sandbox: Sandbox,
    bot: BotClient,
    engine: Engine,
    queue: JobQueue,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(ban, "REST_S", 600.0)
    caplog.set_level("INFO")
    sandbox.faults.refuse(POST, 429, via=False, retry_after_s=0.0)
    for channel in (sandbox.general, sandbox.random):
        await ask(sandbox, channel)
        await engine.end(await engine.take(), " upon")
        # Or both would ask Discord before the first is refused.
        await until(lambda: "Discord has shut this machine out" in caplog.text)
    await until(lambda: caplog.text.count("tried again in 1.00 s") == 2)
    assert [each.status for each in sandbox.recorder if each.status == 429] == [429]
    assert caplog.text.count("Discord has shut this machine out") == 1
    assert sandbox.bot_messages(sandbox.general) == sandbox.bot_messages(sandbox.random) == []


async def test_how_long_it_is_left_alone_is_what_it_said(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    sandbox.faults.refuse(POST, 429, times=2, via=False, retry_after_s=1.5)
    asked = await ask(sandbox)
    await engine.end(await engine.take(), " upon")
    await sandbox.wait_for_reply(asked)
    await until_over(queue, bot)
    posts = [each for each in sandbox.recorder if f"{each.method} {each.route}" == POST]
    assert [each.status for each in posts] == [429, 429, 200]
    for earlier, later in itertools.pairwise(posts):
        assert later.at_s - earlier.at_s >= 1.4


async def test_a_channel_that_is_limited_for_minutes_keeps_no_other_waiting(
    sandbox: Sandbox, naps: Naps, bot: BotClient, engine: Engine, queue: JobQueue
):
    asked = await ask(sandbox)
    job = await engine.take()
    await engine.write(job, " upon")
    reply = await sandbox.wait_for_reply(asked)
    sandbox.faults.refuse(PATCH, 429, retry_after_s=600.0, scope=Scope.SHARED)
    await engine.end(job, " a time")
    await until(lambda: 600.0 in naps.wanted_s)
    other = await ask(sandbox, sandbox.random)
    another = await engine.take()
    await engine.write(another, " upon")
    late = await sandbox.wait_for_reply(other)
    await engine.end(another, " a time")
    await until_is(sandbox, late, f"{LABEL}\n upon a time")
    assert reply.content != f"{LABEL}\n upon a time"
    naps.over.set()
    await until_is(sandbox, reply, f"{LABEL}\n upon a time")
    await until_over(queue, bot)


@pytest.mark.usefixtures("no_notices")
async def test_a_limit_on_everything_ends_even_if_what_met_it_is_not_wanted_any_more(
    sandbox: Sandbox, naps: Naps, bot: BotClient, engine: Engine, queue: JobQueue
):
    gate = asyncio.Event()
    sandbox.faults.refuse(TYPING, 429, retry_after_s=600.0, scope=Scope.GLOBAL, gate=gate)
    posted = sandbox.faults.hold_answer(POST)
    asked = await ask(sandbox)
    await engine.end(await engine.take(), " upon")
    await sandbox.wait_for_reply(asked)
    gate.set()
    await until(lambda: 600.0 in naps.wanted_s)
    posted.set()
    await until_over(queue, bot)
    naps.over.set()
    again = await ask(sandbox)
    await engine.end(await engine.take(), " upon")
    await sandbox.wait_for_reply(again)


async def test_a_request_that_nobody_answers_keeps_no_other_channel_waiting(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    gate = sandbox.faults.hold(POST)
    first = await ask(sandbox)
    await engine.end(await engine.take(), " upon")
    await until(lambda: sandbox.faults.is_used_up(POST))
    second = await ask(sandbox, sandbox.random)
    await engine.end(await engine.take(), " upon")
    await sandbox.wait_for_reply(second)
    assert sandbox.bot_messages(sandbox.general) == []
    gate.set()
    await sandbox.wait_for_reply(first)
    await until_over(queue, bot)


async def test_a_request_that_nobody_answers_is_made_again(
    sandbox: Sandbox,
    redis_url: str,
    engine: Engine,
    queue: JobQueue,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(discord_api, "REQUEST_LIMIT_S", 4.0)
    async with running_bot(sandbox, redis_url) as bot:
        sandbox.faults.hold(POST)
        sandbox.faults.hold(PATCH)
        asked = await ask(sandbox)
        job = await engine.take()
        await engine.write(job, " upon")
        reply = await sandbox.wait_for_reply(asked)
        await engine.end(job, " a time")
        await until_is(sandbox, reply, f"{LABEL}\n upon a time")
        await until_over(queue, bot)
        assert sandbox.bot_messages(sandbox.general) == [reply]


async def test_mentions_are_answered_while_commands_cannot_be_registered(
    sandbox: Sandbox, redis_url: str, engine: Engine
):
    gate = sandbox.faults.hold(SYNC)

    async def look() -> None:
        await sandbox.wait_for(lambda: sandbox.gateway.num_connected, DEADLINE_S)
        sandbox.bot_ready.set()

    looking = asyncio.create_task(look())
    async with running_bot(sandbox, redis_url):
        asked = await ask(sandbox)
        await engine.end(await engine.take(), " upon")
        await sandbox.wait_for_reply(asked)
        assert sandbox.world.commands == {}
        sandbox.bot_ready.clear()
        gate.set()
        await sandbox.bot_ready.wait()
        await sandbox.slash(sandbox.alice, sandbox.general, "generate")
        await engine.end(await engine.take())
    await looking


@pytest.mark.parametrize("fault", ["429 of the bot", "500", "503", "cut before the work"])
async def test_commands_are_registered_in_spite_of(
    fault: str, sandbox: Sandbox, naps: Naps, redis_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bot.command_tree.SYNC_RETRY_S", 0.01)
    ORDERS[fault](sandbox.faults, SYNC)
    async with running_bot(sandbox, redis_url):
        assert {each["name"] for each in sandbox.commands_in(sandbox.general)} >= {"generate"}


async def test_a_post_whose_answer_was_lost_is_found_though_discord_was_away_for_long(
    redis_url: str, engine: Engine, queue: JobQueue
):
    passed_s = 0.0
    sandbox = Sandbox(limits={}, clock=lambda: time.monotonic() + passed_s)
    async with sandbox, running_bot(sandbox, redis_url) as bot:
        sandbox.faults.lose(POST)
        sandbox.faults.cut(POST, times=999)
        asked = await ask(sandbox)
        job = await engine.take()
        await engine.write(job, " upon")
        reply = await sandbox.wait_for_reply(asked)
        passed_s = 10 * 60  # by then Discord has forgotten the nonce
        sandbox.faults.clear()
        await engine.end(job, " a time")
        await until_over(queue, bot)
        assert sandbox.bot_messages(sandbox.general) == [reply]
        assert reply.content == f"{LABEL}\n upon a time"
