"""`python -m bot doctor`: what it finds in the bot's servers, at its application, and its clock."""

import discord
import pytest

from bot.doctor import judge_servers, judge_starts
from bot.doctor_channels import permissions_in
from bot.settings import BotSettings
from sandbox.payloads import View
from sandbox.rest import Rest
from sandbox.rights import NOTHING, May
from sandbox.server import Sandbox
from tests.bot.findings import at_discord, only
from tests.bot.support import environment_of
from wire.findings import Level, exit_status

PORTAL = "https://discord.com/developers/applications"
INVITATION = "https://discord.com/oauth2/authorize?client_id=1"
SEE = 1 << 10
ADMINISTRATOR = 1 << 3


async def test_a_server_where_it_may_not_write_is_named_with_the_invitation(
    sandbox: Sandbox, settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(View, "permissions", lambda *_: SEE)
    line = only(await at_discord(settings()), Level.WARN)
    assert line.startswith("warn  servers: in Tomis it may not ")
    for lacking in ("send messages", "send messages in threads", "read message history"):
        assert lacking in line
    assert "view channel" not in line
    assert f"https://discord.com/oauth2/authorize?client_id={sandbox.bot_user.id}" in line


def test_an_administrator_lacks_nothing():
    found = list(judge_servers([{"name": "A", "permissions": str(ADMINISTRATOR)}], INVITATION))
    assert only(found, Level.OK) == "ok    servers: the bot is in 1, and lacks nothing in 1."


def test_of_many_servers_few_are_named():
    found = list(judge_servers([{"name": f"S{n}", "permissions": "0"} for n in range(200)], ""))
    lines = [each.line() for each in found]
    assert len(lines) == 7
    assert lines[0] == "ok    servers: the bot is in at least 200, and lacks nothing in 0."
    assert lines[-1].startswith("warn  servers: in 195 more it lacks permissions.")


def test_what_a_server_is_called_cannot_steer_the_terminal():
    [_, found] = judge_servers([{"name": "\x1b[2J\n", "permissions": "0"}], INVITATION)
    assert found.line().startswith("warn  servers: in ?[2J? it may not ")


def test_a_bot_in_no_server_is_told_how_to_be_invited():
    line = only(list(judge_servers([], INVITATION)), Level.NOTE)
    assert line == f"note  servers: the bot is in none. Invite it: {INVITATION}"


async def test_commands_that_nobody_registered_are_worth_a_note(settings):
    line = only(await at_discord(settings()), Level.NOTE)
    assert line == "note  commands: none is registered yet. The bot does it when it runs."


async def test_an_interactions_endpoint_that_takes_the_commands_away_is_a_fault(
    sandbox: Sandbox, redis_url: str, monkeypatch: pytest.MonkeyPatch
):
    told = Rest.get_application
    elsewhere = {"interactions_endpoint_url": "https://example.com"}
    monkeypatch.setattr(Rest, "get_application", lambda *args: told(*args) | elsewhere)
    async with Sandbox(limits={}) as other:
        for name, value in environment_of(other, redis_url).items():
            monkeypatch.setenv(name, value)
        line = only(await at_discord(BotSettings()), Level.FAULT)
    assert line.startswith("FAULT commands: Discord sends them to an interactions endpoint")
    assert line.endswith(f"Empty that field at {PORTAL}/{other.bot_user.id}.")


def test_connections_that_are_used_up_are_a_fault():
    starts = {"total": 1000, "remaining": 1, "reset_after": 5_400_000, "max_concurrency": 1}
    assert list(judge_starts(1, starts)) == []
    line = only(list(judge_starts(2, starts)), Level.FAULT)
    assert "1 of 1000 connections are left for today, and 2 needed" in line
    assert "wait 1.5 hours" in line


@pytest.mark.parametrize(("ahead_s", "words"), [(30, "s ahead of"), (-30, "s behind")])
async def test_a_clock_that_disagrees_with_discords_is_a_warning(
    settings, ahead_s: float, words: str
):
    line = only(await at_discord(settings(), ahead_s), Level.WARN)
    assert line.startswith("warn  clock: this machine is ")
    assert f"{words} Discord" in line


async def test_channels_that_it_sees_and_may_not_answer_in_are_named(sandbox: Sandbox, settings):
    sandbox.deny_bot(sandbox.random, May.SEND)
    sandbox.deny_bot(sandbox.open_channel("moderators"), May.VIEW)
    found = await at_discord(settings())
    assert exit_status(found) == 0
    [line] = [each.line() for each in found if each.about == "channels"]
    assert line == (
        "note  channels: in Tomis it sees 1 where it may not answer: #random. If it should, allow "
        "its role View Channel, Send Messages and Read Message History in the settings of the "
        "channel."
    )


async def test_channels_of_one_name_are_told_apart(sandbox: Sandbox, settings):
    sandbox.deny_bot(sandbox.open_channel(sandbox.random.name), May.SEND)
    sandbox.deny_bot(sandbox.random, May.SEND)
    sandbox.open_channel(sandbox.random.name)
    found = await at_discord(settings())
    [line] = [each.line() for each in found if each.about == "channels"]
    assert "it sees 2 where it may not answer: #random, #random." in line


async def test_a_server_in_none_of_whose_channels_it_may_write_is_a_warning(
    sandbox: Sandbox, settings
):
    channels = [sandbox.general, sandbox.random]
    channels += [sandbox.open_channel(f"more-{number}") for number in range(4)]
    for channel in channels:
        sandbox.deny_bot(channel, May.READ_HISTORY)
    line = only(await at_discord(settings()), Level.WARN)
    assert line.startswith(
        "warn  channels: in Tomis it may write, but in none of its channels: "
        "#general, #random, #more-0, #more-1, #more-2, …. Where it should answer, allow its role "
    )


async def test_a_server_of_which_it_sees_nothing_is_a_warning(sandbox: Sandbox, settings):
    for channel in (sandbox.general, sandbox.random):
        sandbox.deny_bot(channel, May.VIEW)
    line = only(await at_discord(settings()), Level.WARN)
    assert "in Tomis it may write, but in none of its channels, which it does not see." in line


async def test_a_server_whose_channels_discord_does_not_tell_is_worth_a_note(
    sandbox: Sandbox, settings
):
    sandbox.faults.refuse("GET /guilds/{guild_id}/channels", 403, code=50001)
    found = await at_discord(settings())
    assert "note  channels: those of Tomis cannot be looked at: status 403. Try again later." in [
        each.line() for each in found
    ]


SERVER = {"id": "1", "name": "A", "permissions": str(int(May.VIEW | May.SEND | May.READ_HISTORY))}
EVERYBODY, ROLE, OTHER_ROLE, BOT = 1, 2, 3, 4


def rights(*overwrites: tuple[int, int, May, May]) -> May:
    """Work out what these overwrites (id, type, allow, deny) leave."""
    listed = [
        {"id": str(number), "type": kind, "allow": str(int(allow)), "deny": str(int(deny))}
        for number, kind, allow, deny in overwrites
    ]
    base = discord.Permissions(int(SERVER["permissions"]))
    return May(permissions_in(base, listed, SERVER, {EVERYBODY, ROLE, BOT}).value)


def test_a_role_overrules_everybody_and_the_bots_own_entry_overrules_its_role():
    silenced = (EVERYBODY, 0, NOTHING, May.SEND)
    assert May.SEND not in rights(silenced)
    assert May.SEND in rights((ROLE, 0, May.SEND, NOTHING), silenced)
    assert May.SEND not in rights(silenced, (OTHER_ROLE, 0, May.SEND, NOTHING))
    assert May.SEND not in rights((BOT, 1, NOTHING, May.SEND), (ROLE, 0, May.SEND, NOTHING))
    assert May.SEND in rights((BOT, 1, May.SEND, NOTHING), (ROLE, 0, NOTHING, May.SEND))
