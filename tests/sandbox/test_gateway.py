"""Sessions of the gateway, held by a real discord.py client."""

import asyncio

import discord
import pytest
from aiohttp import ClientSession

from sandbox.server import Sandbox
from tests.sandbox.clients import DEADLINE_S, INTENTS, Bot, connected


async def resumes(bot: Bot) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await bot.resumed.wait()


@pytest.mark.parametrize("way", ["drop", "reconnect", "invalid but resumable"])
async def test_no_event_is_lost_or_repeated_over_a_resume(sandbox: Sandbox, bot: Bot, way: str):
    heard = await sandbox.say(sandbox.alice, sandbox.general, "before")
    await bot.until(lambda: bot.seen)

    match way:
        case "drop":
            await sandbox.gateway.drop()
        case "reconnect":
            sandbox.gateway.ask_to_reconnect()
        case _:
            sandbox.gateway.invalidate(resumable=True)
    missed = [await sandbox.say(sandbox.alice, sandbox.general, str(number)) for number in range(3)]
    await resumes(bot)
    after = await sandbox.say(sandbox.alice, sandbox.general, "after")
    await bot.until(lambda: bot.seen[-1].id == after.id)

    assert [m.id for m in bot.seen] == [heard.id, *(m.id for m in missed), after.id]
    assert bot.readies == 1
    assert len(sandbox.gateway.sessions) == 1


async def test_a_forgotten_session_is_begun_anew(
    sandbox: Sandbox, bot: Bot, monkeypatch: pytest.MonkeyPatch
):
    async def at_once(*_: object, **__: object) -> None:
        """discord.py waits 5 s before each later IDENTIFY, in this hook."""

    monkeypatch.setattr(bot, "before_identify_hook", at_once)
    [first] = sandbox.gateway.sessions

    await sandbox.gateway.drop(resumable=False)
    await bot.until(lambda: bot.readies == 2)

    [second] = sandbox.gateway.sessions
    assert second != first
    heard = await sandbox.say(sandbox.alice, sandbox.general, "again")
    await bot.until(lambda: bot.seen)
    assert [m.id for m in bot.seen] == [heard.id]


async def test_events_can_come_more_than_once(sandbox: Sandbox, bot: Bot):
    sandbox.gateway.event_copies = 3
    heard = await sandbox.say(sandbox.alice, sandbox.general, "echo")
    await bot.until(lambda: len(bot.seen) == 3)
    assert [m.id for m in bot.seen] == [heard.id] * 3


async def test_events_can_come_in_the_reverse_order(sandbox: Sandbox, bot: Bot):
    with sandbox.gateway.reversed_order():
        said = [await sandbox.say(sandbox.alice, sandbox.general, str(n)) for n in range(3)]
    await bot.until(lambda: len(bot.seen) == 3)
    assert [m.id for m in bot.seen] == [m.id for m in reversed(said)]


async def test_a_connection_can_fall_silent_and_keeps_what_happens_for_the_next(sandbox: Sandbox):
    sandbox.gateway.heartbeat_interval_ms = 500
    async with connected(sandbox, Bot(heartbeat_timeout=3.0)) as bot:
        sandbox.gateway.fall_silent()
        missed = await sandbox.say(sandbox.alice, sandbox.general, "missed")
        await bot.until(lambda: bot.seen)
        assert [m.id for m in bot.seen] == [missed.id]
        assert bot.resumed.is_set()
        assert bot.readies == 1


async def test_a_wrong_token_cannot_log_in(sandbox: Sandbox):
    sandbox.token = "wrong"
    with pytest.raises(discord.LoginFailure):
        async with connected(sandbox, Bot()):
            pass


async def test_a_wrong_token_at_the_gateway_closes_with_4004(sandbox: Sandbox):
    class Forgetful(Bot):
        async def setup_hook(self) -> None:
            self.http.token = "wrong"

    with pytest.raises(discord.ConnectionClosed) as closed:
        async with connected(sandbox, Forgetful()):
            pass
    assert closed.value.code == 4004


async def test_a_privileged_intent_that_is_not_switched_on_closes_with_4014(sandbox: Sandbox):
    with pytest.raises(discord.PrivilegedIntentsRequired):
        async with connected(sandbox, Bot(INTENTS | discord.Intents(message_content=True))):
            pass


async def test_what_is_not_asked_for_is_not_sent(sandbox: Sandbox):
    async with connected(sandbox, Bot(discord.Intents(guilds=True, dm_messages=True))) as bot:
        await sandbox.say(sandbox.alice, sandbox.general, "in the server")
        direct = await sandbox.say(sandbox.alice, sandbox.dm(sandbox.alice), "direct")
        await bot.until(lambda: bot.seen)
    assert [m.id for m in bot.seen] == [direct.id]


async def test_two_shards_share_the_world(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    at_home = (sandbox.guild.id >> 22) % 2
    seen = {}
    for shard in (0, 1):
        async with connected(sandbox, Bot(shard_id=shard, shard_count=2)) as bot:
            direct = await sandbox.say(sandbox.alice, sandbox.dm(sandbox.alice), "direct")
            general = await sandbox.say(sandbox.alice, sandbox.general, "general")
            expected = ({direct.id} if shard == 0 else set()) | (
                {general.id} if shard == at_home else set()
            )
            await bot.until(lambda: {m.id for m in bot.seen} >= expected)  # noqa: B023
            seen[shard] = (len(bot.guilds), {m.id for m in bot.seen} == expected)
    assert seen == {at_home: (1, True), 1 - at_home: (0, True)}


async def test_a_client_that_says_nonsense_is_closed(sandbox: Sandbox):
    frames = {"{": 4002, '{"op": 99}': 4001, '{"op": 3, "d": {}}': 4003, '{"op": 0}': 4001}
    async with ClientSession() as session:
        for frame, code in frames.items():
            async with session.ws_connect(sandbox.gateway_url) as socket:
                assert (await socket.receive_json())["op"] == 10
                await socket.send_str(frame)
                await socket.receive(timeout=DEADLINE_S)
                assert socket.close_code == code, frame


async def test_a_bot_that_comes_back_is_ready_only_when_it_is_connected(sandbox: Sandbox):
    ready_at_sync = []

    class Syncing(Bot):
        async def setup_hook(self) -> None:
            await self.tree.sync()
            ready_at_sync.append(sandbox.bot_ready.is_set())

    for _ in range(2):
        sandbox.bot_ready.clear()
        async with connected(sandbox, Syncing()):
            assert sandbox.bot_ready.is_set()
        await sandbox.wait_for(lambda: not sandbox.gateway.num_connected, DEADLINE_S)
    assert ready_at_sync == [False, False]
