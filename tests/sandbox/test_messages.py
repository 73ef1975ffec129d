"""Messages between people and a real discord.py client."""

import io

import discord
import pytest

from sandbox.events import Intents
from sandbox.model import EVERYONE, Flags
from sandbox.server import Sandbox
from tests.sandbox.clients import INTENTS, Bot, connected


async def said(sandbox: Sandbox, bot: Bot, text: str = "hello") -> discord.Message:
    """Let Alice mention the bot, and return the message as the bot got it."""
    await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} {text}")
    await bot.until(lambda: bot.seen and bot.seen[-1].content.endswith(text))
    return bot.seen[-1]


async def test_a_mention_arrives_with_its_text_and_author(sandbox: Sandbox, bot: Bot):
    message = await said(sandbox, bot, "a herd of unicorns")

    assert message.author.id == sandbox.alice.id
    assert message.channel.id == sandbox.general.id
    assert message.guild is not None
    assert message.mentions == [message.guild.me]


async def test_a_reply_with_a_button_is_seen_and_its_edits_are_kept(sandbox: Sandbox, bot: Bot):
    message = await said(sandbox, bot)
    view = discord.ui.View()
    view.add_item(discord.ui.Button(label="Stop", custom_id="stop"))

    sent = await message.reply("Once", view=view)
    await sent.edit(content="Once upon")
    await sent.edit(content="Once upon a time", view=None)

    [reply] = sandbox.bot_messages(sandbox.general)
    assert [revision.content for revision in reply.revisions] == [
        "Once",
        "Once upon",
        "Once upon a time",
    ]
    times_s = [revision.at_s for revision in reply.revisions]
    assert times_s == sorted(times_s)
    assert len(reply.revisions[0].components) == 1
    assert reply.buttons == []
    assert reply.reference is sandbox.messages(sandbox.general)[0]
    assert sent.reference is not None
    assert sent.reference.message_id == message.id


async def test_a_message_says_whom_it_pings(sandbox: Sandbox, bot: Bot):
    message = await said(sandbox, bot)
    text = f"{sandbox.bob.mention} @everyone"

    await message.reply(text)
    await message.reply(text, allowed_mentions=discord.AllowedMentions.none())
    users_only = discord.AllowedMentions(everyone=False, roles=False, replied_user=False)
    await message.reply(text, allowed_mentions=users_only)

    loud, quiet, users = sandbox.bot_messages(sandbox.general)
    assert loud.pings == {sandbox.bob.id, sandbox.alice.id, EVERYONE}
    assert quiet.pings == set()
    assert users.pings == {sandbox.bob.id}


async def test_an_edit_can_ping_too(sandbox: Sandbox, bot: Bot):
    message = await said(sandbox, bot)
    sent = await message.channel.send("quiet")

    await sent.edit(content=sandbox.bob.mention)
    await sent.edit(content="quiet again")

    [kept] = sandbox.bot_messages(sandbox.general)
    assert kept.pings == {sandbox.bob.id}


async def test_what_others_say_to_each_other_is_blank(sandbox: Sandbox, bot: Bot):
    heard = await sandbox.say(sandbox.bob, sandbox.general, "between us")
    await bot.until(lambda: bot.seen)

    channel = bot.get_channel(sandbox.general.id)
    assert isinstance(channel, discord.TextChannel)
    fetched = await channel.fetch_message(heard.id)
    listed = [message async for message in channel.history()]

    assert heard.content == "between us"
    assert [bot.seen[0].content, fetched.content, listed[0].content] == ["", "", ""]


async def test_direct_messages_own_messages_and_pinging_replies_are_readable(
    sandbox: Sandbox, bot: Bot
):
    mention = await said(sandbox, bot)
    await mention.reply("mine")
    own = sandbox.bot_messages(sandbox.general)[0]
    pinging = await sandbox.say(sandbox.bob, sandbox.general, "go on", reply_to=own)
    silent = await sandbox.say(sandbox.bob, sandbox.general, "psst", reply_to=own, ping=False)
    direct = await sandbox.say(sandbox.bob, sandbox.dm(sandbox.bob), "only you")
    await bot.until(lambda: bot.seen[-1].id == direct.id)

    seen = {message.id: message for message in bot.seen}
    assert [seen[m.id].content for m in (own, pinging, silent, direct)] == [
        "mine",
        "go on",
        "",
        "only you",
    ]
    assert isinstance(seen[pinging.id].reference, discord.MessageReference)
    resolved = seen[pinging.id].reference.resolved  # type: ignore[union-attr]
    assert isinstance(resolved, discord.Message)
    assert resolved.content == "mine"


async def test_the_message_content_intent_shows_everything():
    async with Sandbox(privileged=Intents.MESSAGE_CONTENT) as sandbox:
        intents = INTENTS | discord.Intents(message_content=True)
        async with connected(sandbox, Bot(intents)) as bot:
            await sandbox.say(sandbox.bob, sandbox.general, "between us")
            await bot.until(lambda: bot.seen)
            assert bot.seen[0].content == "between us"


async def test_a_direct_message_is_answered_where_it_was_written(sandbox: Sandbox, bot: Bot):
    await sandbox.say(sandbox.bob, sandbox.dm(sandbox.bob), "hi")
    await bot.until(lambda: bot.seen)

    await bot.seen[0].channel.send("hello Bob")
    alice = await bot.fetch_user(sandbox.alice.id)
    await alice.send("hello Alice")

    assert [m.content for m in sandbox.messages(sandbox.dm(sandbox.bob))] == ["hi", "hello Bob"]
    assert [m.content for m in sandbox.messages(sandbox.dm(sandbox.alice))] == ["hello Alice"]


async def test_a_repeated_nonce_returns_the_first_message(sandbox: Sandbox, bot: Bot):
    channel = (await said(sandbox, bot)).channel

    first = await channel.send("one", nonce="job-1")
    again = await channel.send("one", nonce="job-1")
    other = await channel.send("two", nonce="job-2")

    fetched = await channel.fetch_message(first.id)

    assert again.id == first.id
    assert (again.nonce, fetched.nonce) == ("job-1", None)
    assert [m.id for m in sandbox.bot_messages(sandbox.general)] == [first.id, other.id]


async def test_a_file_arrives_and_can_be_read_back(sandbox: Sandbox, bot: Bot):
    channel = (await said(sandbox, bot)).channel
    file = discord.File(io.BytesIO(b"\x00binary\xff"), "reply.bin", description="the text")

    sent = await channel.send("see", file=file)

    [kept] = sandbox.bot_messages(sandbox.general)[0].attachments
    assert (kept.filename, kept.data, kept.description) == (
        "reply.bin",
        b"\x00binary\xff",
        "the text",
    )
    assert await sent.attachments[0].read() == b"\x00binary\xff"


async def test_typing_flags_reactions_and_deletions_are_seen(sandbox: Sandbox, bot: Bot):
    message = await said(sandbox, bot)
    await message.channel.typing()
    await message.add_reaction("👀")
    sent = await message.channel.send("https://example.org", suppress_embeds=True)
    [kept] = sandbox.bot_messages(sandbox.general)
    await sent.delete()
    first = sandbox.messages(sandbox.general)[0]
    await sandbox.delete(sandbox.alice, first)
    await bot.until(lambda: len(bot.deleted) == 2)

    assert [(t.user, t.channel) for t in sandbox.typing] == [(sandbox.bot_user, sandbox.general)]
    assert first.reactions == {"👀": [sandbox.bot_user]}
    assert kept.flags == Flags.SUPPRESS_EMBEDS
    assert kept.deleted
    assert [event.message_id for event in bot.deleted] == [sent.id, message.id]
    with pytest.raises(discord.NotFound) as refused:
        await message.channel.fetch_message(message.id)
    assert refused.value.code == 10008


async def test_other_bots_and_webhooks_are_marked_as_such(sandbox: Sandbox, bot: Bot):
    mention = sandbox.bot_user.mention
    await sandbox.say(sandbox.other_bot, sandbox.general, f"{mention} squawk")
    await sandbox.say_as_webhook(sandbox.general, "News", f"{mention} extra")
    await bot.until(lambda: len(bot.seen) == 2)

    parrot, news = bot.seen
    assert parrot.author.bot
    assert parrot.webhook_id is None
    assert news.webhook_id is not None
    assert news.author.name == "News"


async def test_history_is_read_before_after_and_around(sandbox: Sandbox, bot: Bot):
    channel = (await said(sandbox, bot)).channel
    sent = [await channel.send(str(number)) for number in range(4)]

    older = [m.content async for m in channel.history(limit=2, before=sent[2])]
    newer = [m.content async for m in channel.history(limit=2, after=sent[1])]
    near = [m.content async for m in channel.history(limit=3, around=sent[1])]

    assert older == ["1", "0"]
    assert newer == ["2", "3"]
    assert near == ["2", "1", "0"]


@pytest.mark.parametrize(
    ("kwargs", "code"),
    [
        ({"content": "x" * 2001}, 50035),
        ({"content": "  "}, 50006),
        ({"embed": discord.Embed(description="x" * 4097)}, 50035),
    ],
    ids=["too long", "empty", "embed too long"],
)
async def test_a_message_that_breaks_a_rule_is_refused(loose_sandbox: Sandbox, kwargs, code):
    async with connected(loose_sandbox, Bot()) as bot:
        channel = (await said(loose_sandbox, bot)).channel
        with pytest.raises(discord.HTTPException) as refused:
            await channel.send(**kwargs)
    assert refused.value.code == code
    assert loose_sandbox.bot_messages(loose_sandbox.general) == []


async def test_nobody_elses_message_can_be_edited_or_deleted(sandbox: Sandbox, bot: Bot):
    message = await said(sandbox, bot)
    with pytest.raises(discord.Forbidden) as edited:
        await message.edit(content="mine now")
    with pytest.raises(discord.Forbidden) as deleted:
        await message.delete()
    assert (edited.value.code, deleted.value.code) == (50005, 50013)
