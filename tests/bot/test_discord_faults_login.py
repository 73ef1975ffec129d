"""A bot that cannot log in, is shut out, or hears what it cannot read: it tries until it can."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot import __main__ as program
from bot import ban, discord_api
from bot.settings import BotSettings
from sandbox.server import Sandbox
from tests.bot.conftest import Naps
from tests.bot.support import DEADLINE_S, LABEL, Engine, running_bot, until, until_over
from wire.queue import JobQueue


@pytest.fixture
def settings_of_bot(settings: Callable[..., BotSettings], monkeypatch: pytest.MonkeyPatch):
    """What `python -m bot run` is told, for one that is quick to try again."""
    monkeypatch.setattr(program, "RETRY_S", 0.01)
    return settings()


@contextlib.asynccontextmanager
async def running_program(settings: BotSettings) -> AsyncIterator[None]:
    """Run the bot as `python -m bot run` does, in this process."""
    running = asyncio.create_task(program.run(settings))
    try:
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def is_answered(sandbox: Sandbox, engine: Engine) -> None:
    """See that a mention gets its reply."""
    async with asyncio.timeout(DEADLINE_S):
        await sandbox.bot_ready.wait()
    words = f"{sandbox.bot_user.mention} Once"
    asked = await sandbox.say(sandbox.alice, sandbox.general, words)
    await engine.end(await engine.take(), " upon")
    await sandbox.wait_for_reply(asked)


async def test_an_event_that_nobody_can_read_ends_the_connection_and_not_the_bot(
    sandbox: Sandbox,
    naps: Naps,
    engine: Engine,
    settings_of_bot: BotSettings,
    caplog: pytest.LogCaptureFixture,
):
    async with running_program(settings_of_bot):
        await is_answered(sandbox, engine)
        [session] = sandbox.gateway.sessions.values()
        sandbox.bot_ready.clear()
        session.dispatch("MESSAGE_CREATE", {"content": "xyzzy"})
        await is_answered(sandbox, engine)
    assert caplog.text.count("the connection to Discord broke with KeyError") == 1
    assert "xyzzy" not in caplog.text


async def test_a_bot_that_cannot_log_in_or_find_the_gateway_tries_until_it_can(
    sandbox: Sandbox,
    naps: Naps,
    engine: Engine,
    settings_of_bot: BotSettings,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(ban, "REST_S", 0.01)
    for route in ("GET /users/@me", "GET /oauth2/applications/@me", "GET /gateway/bot"):
        for status in (500, 502, 503, 504):
            # The library asks five times before it gives some of them up.
            sandbox.faults.refuse(route, status, times=5)
        sandbox.faults.refuse(route, 429, via=False)
        sandbox.faults.cut(route, times=2)
    async with running_program(settings_of_bot):
        await is_answered(sandbox, engine)


async def test_a_discord_that_shuts_the_bot_out_at_its_login_is_left_alone_too(
    sandbox: Sandbox,
    settings_of_bot: BotSettings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(ban, "REST_S", 600.0)
    sandbox.faults.refuse("GET /users/@me", 429, times=99, via=False, retry_after_s=0.0)
    async with running_program(settings_of_bot):
        await until(lambda: caplog.text.count("Discord can't be reached") >= 3)
    assert [each.status for each in sandbox.recorder] == [429]


async def test_a_gateway_that_refuses_does_not_silence_the_bot():
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=429)

    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.add_routes([web.get("/gateway", refuse), web.get("/api/v10/users/@me", answer)])
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession(trace_configs=[ban.Ban().trace()]) as session,
    ):
        discord_api.use_discord_at(str(server.make_url("/api/v10")), None)
        async with session.get(server.make_url("/gateway")) as refused:
            assert refused.status == 429
        async with session.get(server.make_url("/api/v10/users/@me")) as answered:
            assert answered.status == 200


async def test_a_bot_that_loses_every_session_at_once_waits_longer_each_time(
    sandbox: Sandbox,
    settings: Callable[..., BotSettings],
    monkeypatch: pytest.MonkeyPatch,
):
    naps = Naps()
    monkeypatch.setattr(program, "asyncio", naps)
    async with running_program(settings()):
        # The wait of more than a minute lasts, so no session comes after it.
        for _ in range(5):
            async with asyncio.timeout(DEADLINE_S):
                await sandbox.bot_ready.wait()
            sandbox.bot_ready.clear()
            [*_, session] = sandbox.gateway.sessions.values()
            session.dispatch("MESSAGE_CREATE", {})
        await until(lambda: len(naps.wanted_s) == 5)
    assert naps.wanted_s == [5, 10, 20, 40, 80]


async def test_what_a_bot_whose_token_was_reset_had_begun_goes_on_with_the_new_one(
    sandbox: Sandbox, redis_url: str, engine: Engine, queue: JobQueue
):
    async with running_bot(sandbox, redis_url):
        words = f"{sandbox.bot_user.mention} Once"
        asked = await sandbox.say(sandbox.alice, sandbox.general, words)
        job = await engine.take()
        await engine.write(job, " upon")
        reply = await sandbox.wait_for_reply(asked)
        sandbox.faults.refuse("*", 401, times=9999)
        await engine.write(job, " a")
        await until(lambda: [each.status for each in sandbox.recorder].count(401) >= 2)
    sandbox.faults.clear()
    await engine.end(job, " time")
    async with running_bot(sandbox, redis_url) as restarted:
        await until_over(queue, restarted)
    assert sandbox.bot_messages(sandbox.general) == [reply]
    assert reply.content == f"{LABEL}\n upon a time"
