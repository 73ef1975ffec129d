"""What a real discord.py client does when Discord misbehaves, and that the sandbox can."""

import asyncio

import aiohttp
import discord
import pytest

from sandbox.faults import Scope
from sandbox.limits import Limit
from sandbox.server import Sandbox
from tests.sandbox.clients import Bot, connected

POST = "POST /channels/{channel_id}/messages"
PATCH = "PATCH /channels/{channel_id}/messages/{message_id}"


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let discord.py not wait between its attempts; the waits that it wanted, in seconds."""
    wanted: list[float] = []

    class Asyncio:
        """The module as discord.py's HTTP client sees it."""

        def __getattr__(self, name: str) -> object:
            return getattr(asyncio, name)

        async def sleep(self, delay_s: float) -> None:
            wanted.append(delay_s)
            await asyncio.sleep(0)

    monkeypatch.setattr("discord.http.asyncio", Asyncio())
    return wanted


def channel_of(sandbox: Sandbox, bot: Bot) -> discord.TextChannel:
    channel = bot.get_channel(sandbox.general.id)
    assert isinstance(channel, discord.TextChannel)
    return channel


def statuses(sandbox: Sandbox, method: str = "POST") -> list[int]:
    return [each.status for each in sandbox.recorder if each.method == method]


async def test_a_429_is_waited_out_and_the_message_arrives_once(sandbox: Sandbox, bot: Bot, naps):
    sandbox.faults.refuse(POST, 429, times=2, retry_after_s=7.5, scope=Scope.SHARED)
    await channel_of(sandbox, bot).send("patience")
    assert statuses(sandbox) == [429, 429, 200]
    assert naps == [7.5, 7.5]
    assert len(sandbox.bot_messages(sandbox.general)) == 1


async def test_a_429_without_via_is_a_ban_and_not_retried(sandbox: Sandbox, bot: Bot, naps):
    sandbox.faults.refuse(POST, 429, via=False)
    with pytest.raises(discord.HTTPException):
        await channel_of(sandbox, bot).send("banned")
    assert statuses(sandbox) == [429]


@pytest.mark.parametrize("status", [500, 502])
async def test_a_failing_discord_is_asked_again(sandbox: Sandbox, bot: Bot, naps, status: int):
    sandbox.faults.refuse(POST, status, times=2)
    await channel_of(sandbox, bot).send("once")
    assert statuses(sandbox) == [status, status, 200]
    assert naps == [1, 3]
    assert [m.content for m in sandbox.bot_messages(sandbox.general)] == ["once"]


async def test_a_503_is_not_asked_again(sandbox: Sandbox, bot: Bot, naps):
    sandbox.faults.refuse(POST, 503)
    with pytest.raises(discord.DiscordServerError):
        await channel_of(sandbox, bot).send("gone")
    assert statuses(sandbox) == [503]


async def test_a_lost_answer_makes_no_second_message(sandbox: Sandbox, bot: Bot, naps):
    sandbox.faults.lose(POST, status=502)
    sent = await channel_of(sandbox, bot).send("once")
    assert statuses(sandbox) == [502, 200]
    assert [m.id for m in sandbox.bot_messages(sandbox.general)] == [sent.id]


async def test_a_connection_can_be_cut_after_the_work(sandbox: Sandbox, bot: Bot):
    sandbox.faults.lose(POST)
    channel = channel_of(sandbox, bot)
    with pytest.raises(aiohttp.ClientError):
        await channel.send("sent", nonce="job-1")
    [kept] = sandbox.bot_messages(sandbox.general)

    again = await channel.send("sent", nonce="job-1")

    assert again.id == kept.id
    assert len(sandbox.bot_messages(sandbox.general)) == 1


async def test_a_refusal_can_be_any_of_discords(sandbox: Sandbox, bot: Bot):
    sandbox.faults.refuse("POST */messages", 403, code=50013, message="Missing Permissions")
    with pytest.raises(discord.Forbidden, match="Missing Permissions") as refused:
        await channel_of(sandbox, bot).send("no")
    assert refused.value.code == 50013


async def test_a_fault_is_only_for_the_requests_it_names(sandbox: Sandbox, bot: Bot):
    sandbox.faults.refuse(PATCH, 403)
    sent = await channel_of(sandbox, bot).send("fine")
    with pytest.raises(discord.Forbidden):
        await sent.edit(content="refused")
    await sent.edit(content="fine again")
    assert [m.content for m in sandbox.bot_messages(sandbox.general)] == ["fine again"]


async def test_a_held_request_does_nothing_until_it_is_let_go(sandbox: Sandbox, bot: Bot):
    gate = sandbox.faults.hold(POST)
    sandbox.faults.delay(PATCH, 0.01)
    channel = channel_of(sandbox, bot)
    sending = asyncio.create_task(channel.send("held"))
    other = await sandbox.say(sandbox.alice, sandbox.general, "meanwhile")
    await bot.until(lambda: bot.seen)
    assert sandbox.messages(sandbox.general) == [other]

    gate.set()
    sent = await sending
    await sent.edit(content="and slow")
    assert [m.content for m in sandbox.bot_messages(sandbox.general)] == ["and slow"]


async def test_a_connection_can_be_cut_before_the_work(sandbox: Sandbox, bot: Bot):
    sandbox.faults.cut(POST)
    with pytest.raises(aiohttp.ClientError):
        await channel_of(sandbox, bot).send("unheard")
    assert sandbox.bot_messages(sandbox.general) == []
    assert statuses(sandbox) == [0]


async def test_an_answer_can_be_held_back_after_the_work(sandbox: Sandbox, bot: Bot):
    assert sandbox.faults.is_used_up(POST)
    gate = sandbox.faults.hold_answer(POST)
    assert not sandbox.faults.is_used_up(POST)
    sending = asyncio.create_task(channel_of(sandbox, bot).send("done"))
    [done] = await sandbox.wait_for(lambda: sandbox.bot_messages(sandbox.general))
    assert sandbox.faults.is_used_up(POST)
    assert not sending.done()
    gate.set()
    assert (await sending).id == done.id


async def test_a_refusal_can_wait_to_be_told(sandbox: Sandbox, bot: Bot):
    gate = asyncio.Event()
    sandbox.faults.refuse(POST, 403, gate=gate)
    sending = asyncio.create_task(channel_of(sandbox, bot).send("no"))
    await sandbox.say(sandbox.alice, sandbox.general, "meanwhile")
    await bot.until(lambda: bot.seen)
    assert statuses(sandbox) == []
    gate.set()
    with pytest.raises(discord.Forbidden):
        await sending


async def test_the_fifth_message_in_five_seconds_is_the_last(naps):
    now_s = 0.0
    async with Sandbox(clock=lambda: now_s) as sandbox, aiohttp.ClientSession() as raw:
        url = f"{sandbox.api_url}/channels/{sandbox.general.id}/messages"
        headers = {"Authorization": f"Bot {sandbox.token}"}

        async def post() -> aiohttp.ClientResponse:
            async with raw.post(url, json={"content": "x"}, headers=headers) as answer:
                await answer.read()
                return answer

        answers = [await post() for _ in range(6)]
        now_s += 1.0
        body = await (await raw.post(url, json={"content": "x"}, headers=headers)).json()
        now_s += 4.0
        later = await post()

    assert [answer.status for answer in answers] == [200] * 5 + [429]
    remaining = [answer.headers["X-RateLimit-Remaining"] for answer in answers]
    assert remaining == ["4", "3", "2", "1", "0", "0"]
    assert answers[-1].headers["Retry-After"] == "5.0"
    assert (body["retry_after"], body["global"]) == (4.0, False)
    assert later.status == 200


async def test_a_client_that_obeys_the_headers_is_never_refused():
    async with Sandbox(limits={POST: Limit(2, 0.2)}) as sandbox, connected(sandbox, Bot()) as bot:
        channel = channel_of(sandbox, bot)
        for number in range(5):
            await channel.send(str(number))
        sent = sandbox.bot_messages(sandbox.general)
        assert statuses(sandbox) == [200] * 5
        assert sent[4].revisions[0].at_s - sent[0].revisions[0].at_s >= 0.4


async def test_only_the_bots_token_opens_the_api(sandbox: Sandbox):
    async with aiohttp.ClientSession() as raw:
        refused = await raw.get(f"{sandbox.api_url}/users/@me", headers={"Authorization": "Bot x"})
        assert refused.status == 401
        assert refused.headers["Content-Type"] == "application/json"
        unknown = await raw.get(f"{sandbox.api_url}/nothing")
        assert (await unknown.json())["message"] == "404: Not Found"
    sandbox.recorder.pop()
