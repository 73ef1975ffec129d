"""What Discord lets a bot do, and what it says where it does not: seen by a real client."""

import discord
import pytest

from sandbox.rights import NOTHING, May
from sandbox.server import Sandbox
from tests.sandbox.clients import DEADLINE_S, Bot, connected


def channel_of(sandbox: Sandbox, bot: Bot) -> discord.TextChannel:
    channel = bot.get_channel(sandbox.general.id)
    assert isinstance(channel, discord.TextChannel)
    return channel


async def refused(sandbox: Sandbox, *calls: object) -> list[int]:
    """Make calls that Discord refuses; its codes."""
    codes = []
    for call in calls:
        with pytest.raises(discord.HTTPException) as error:
            await call  # type: ignore[misc]
        codes.append(error.value.code)
    return codes


async def test_who_may_not_send_can_still_edit_and_read(sandbox: Sandbox, bot: Bot):
    channel = channel_of(sandbox, bot)
    sent = await channel.send("before")
    sandbox.deny_bot(sandbox.general, May.SEND)
    assert await refused(sandbox, channel.send("no"), channel.typing()) == [50013, 50013]
    await sent.edit(content="after")
    assert [each.content async for each in channel.history()] == ["after"]
    sandbox.deny_bot(sandbox.general, NOTHING)
    await channel.send("again")


async def test_who_may_not_look_in_can_do_nothing_and_hears_nothing(sandbox: Sandbox, bot: Bot):
    channel = channel_of(sandbox, bot)
    sent = await channel.send("before")
    sandbox.deny_bot(sandbox.general, May.VIEW)
    calls = channel.send("no"), sent.edit(content="no"), sent.delete(), channel.typing()
    assert await refused(sandbox, *calls) == [50001] * 4
    await sandbox.say(sandbox.alice, sandbox.general, "unheard")
    heard = await sandbox.say(sandbox.alice, sandbox.random, "heard")
    await bot.until(lambda: any(each.id == heard.id for each in bot.seen))
    assert [each.id for each in bot.seen if each.author.id == sandbox.alice.id] == [heard.id]


async def test_who_may_not_read_the_history_is_shown_none_and_cannot_reply(
    sandbox: Sandbox, bot: Bot
):
    channel = channel_of(sandbox, bot)
    asked = await sandbox.say(sandbox.alice, sandbox.general, "before")
    sandbox.deny_bot(sandbox.general, May.READ_HISTORY)
    assert [each async for each in channel.history()] == []
    reply = channel.get_partial_message(asked.id).reply("no")
    assert await refused(sandbox, reply) == [160002]
    await channel.send("without a reference")


async def test_a_channels_settings_are_told_to_the_bot(sandbox: Sandbox, bot: Bot):
    channel = channel_of(sandbox, bot)
    assert channel.permissions_for(channel.guild.me).send_messages
    sandbox.deny_bot(sandbox.general, May.SEND)
    await bot.until(lambda: not channel.permissions_for(channel.guild.me).send_messages)
    told = await channel.guild.fetch_channels()
    me = await channel.guild.fetch_member(sandbox.bot_user.id)
    by_name = {each.name: each.permissions_for(me).send_messages for each in told}
    assert by_name == {"general": False, "random": True}


async def test_a_deleted_channel_is_gone_with_all_that_was_said_in_it(sandbox: Sandbox, bot: Bot):
    channel = channel_of(sandbox, bot)
    sent = await channel.send("before")
    sandbox.delete_channel(sandbox.general)
    await bot.until(lambda: bot.get_channel(sandbox.general.id) is None)
    assert await refused(sandbox, channel.send("no"), sent.edit(content="no")) == [10003] * 2
    assert sandbox.messages(sandbox.general) == []


async def test_a_bot_that_is_kicked_is_told_so_and_has_no_server_left(sandbox: Sandbox, bot: Bot):
    channel = channel_of(sandbox, bot)
    sandbox.kick_bot()
    await bot.until(lambda: not bot.guilds)
    assert await refused(sandbox, channel.send("no"), channel.guild.fetch_channels()) == [50001] * 2
    assert [each async for each in bot.fetch_guilds()] == []
    await sandbox.say(sandbox.alice, sandbox.general, "unheard")
    direct = await sandbox.say(sandbox.alice, sandbox.dm(sandbox.alice), "direct")
    await bot.until(lambda: bot.seen)
    assert [each.id for each in bot.seen] == [direct.id]


async def test_a_bot_that_comes_after_it_was_kicked_sees_no_server(sandbox: Sandbox):
    sandbox.kick_bot()
    async with connected(sandbox, Bot()) as bot:
        assert not bot.guilds


async def test_a_person_may_block_the_bot(sandbox: Sandbox, bot: Bot):
    user = await bot.fetch_user(sandbox.alice.id)
    sandbox.block_bot(sandbox.alice)
    assert await refused(sandbox, user.send("no")) == [50007]
    other = await bot.fetch_user(sandbox.bob.id)
    await other.send("yes")


async def test_where_the_bot_may_not_write_a_command_says_so(sandbox: Sandbox):
    class Asked(Bot):
        rights: discord.Permissions | None = None

        async def on_interaction(self, interaction: discord.Interaction) -> None:
            self.rights = interaction.app_permissions
            await self._look()

    asked = Asked()

    @asked.tree.command(name="hello", description="Say hello")
    async def hello(_: discord.Interaction) -> None:
        """Answer nothing."""

    async with connected(sandbox, asked) as bot:
        await sandbox.wait_for(lambda: sandbox.commands_in(sandbox.general), DEADLINE_S)
        sandbox.deny_bot(sandbox.general, May.SEND)
        await sandbox.slash(sandbox.alice, sandbox.general, "hello")
        await bot.until(lambda: bot.rights is not None)
        assert bot.rights is not None
        assert not bot.rights.send_messages
        assert bot.rights.view_channel
