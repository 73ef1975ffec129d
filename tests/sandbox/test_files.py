"""Files that people give to commands and attach to messages, and what they forward."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import discord
import pytest

from sandbox.model import Draft, Flags, Interaction
from sandbox.payloads import View
from sandbox.rules import Upload
from sandbox.server import Sandbox
from sandbox.slash import PersonError
from tests.sandbox.clients import DEADLINE_S, Bot, connected
from tests.sandbox.openapi import Checker

FILE = Upload("my story.txt", "text/plain", b"Once upon a time")


class Reader(Bot):
    """Keeps what its commands are given, and answers for one person only."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[discord.Attachment | None] = []
        self.messages: list[discord.Message] = []

        @self.tree.command(description="Look at a file")
        async def look(
            interaction: discord.Interaction, file: discord.Attachment | None = None
        ) -> None:
            self.files.append(file)
            await interaction.response.defer(ephemeral=True, thinking=True)
            await interaction.edit_original_response(content="seen")

        @self.tree.context_menu(name="Look")
        async def look_at(interaction: discord.Interaction, message: discord.Message) -> None:
            self.messages.append(message)
            await interaction.response.send_message("seen", ephemeral=True)


@pytest.fixture
async def bot(sandbox: Sandbox) -> AsyncIterator[Reader]:
    async with connected(sandbox, Reader()) as bot:
        async with asyncio.timeout(DEADLINE_S):
            await sandbox.bot_ready.wait()
        yield bot


async def seen(sandbox: Sandbox, asked: Interaction) -> None:
    await sandbox.wait_for(lambda: asked.original and asked.original.content == "seen")
    assert asked.original
    assert asked.original.visible_to == asked.user
    assert asked.original.flags == Flags.EPHEMERAL


async def test_a_command_is_given_a_file_which_only_the_bot_can_fetch(
    sandbox: Sandbox, bot: Reader
):
    asked = await sandbox.slash(sandbox.bob, sandbox.general, "look", {"file": FILE})
    await seen(sandbox, asked)
    [file] = bot.files
    assert file is not None
    assert (file.filename, file.size, file.ephemeral) == (FILE.filename, len(FILE.data), True)
    assert file.content_type == "text/plain"
    assert await file.read() == FILE.data
    assert sandbox.messages(sandbox.general, seen_by=sandbox.alice) == []
    assert all(not each.attachments for each in sandbox.messages(sandbox.general))


async def test_a_command_may_be_called_without_its_file(sandbox: Sandbox, bot: Reader):
    await seen(sandbox, await sandbox.slash(sandbox.bob, sandbox.general, "look"))
    assert bot.files == [None]
    with pytest.raises(PersonError, match="file must be a file, not 'story'"):
        await sandbox.slash(sandbox.bob, sandbox.general, "look", {"file": "story"})


async def test_a_menu_shows_the_bot_files_and_embeds_that_are_not_meant_for_it(
    sandbox: Sandbox, bot: Reader
):
    said = await sandbox.say(sandbox.bob, sandbox.general, "", files=[FILE, FILE])
    embed = Draft(embeds=[{"type": "rich", "description": "Once"}])
    embedded = sandbox.world.post(sandbox.other_bot, sandbox.general, embed)
    for message in (said, embedded):
        await seen(sandbox, await sandbox.message_command(sandbox.alice, message, "Look"))
    assert [each.filename for each in bot.messages[0].attachments] == [FILE.filename] * 2
    assert await bot.messages[0].attachments[1].read() == FILE.data
    assert bot.messages[1].content == ""
    assert bot.messages[1].embeds[0].description == "Once"
    # By themselves they came without either, as the bot may not read what is not meant for it.
    assert [(each.attachments, each.embeds) for each in bot.seen] == [([], []), ([], [])]
    with pytest.raises(PersonError, match="a message has 1 to 2000 characters, not 0"):
        await sandbox.say(sandbox.bob, sandbox.general, "")


async def test_a_forwarded_message_brings_its_words_along(sandbox: Sandbox, bot: Reader):
    said = await sandbox.say(sandbox.bob, sandbox.random, "between us", files=[FILE])
    forwarded = await sandbox.forward(sandbox.bob, said, sandbox.general)
    await seen(sandbox, await sandbox.message_command(sandbox.alice, forwarded, "Look"))
    [message] = bot.messages
    assert message.content == ""
    [brought] = message.message_snapshots
    assert brought.content == "between us"
    assert brought.attachments[0].filename == FILE.filename
    assert message.reference is not None
    assert message.reference.type == discord.MessageReferenceType.forward
    assert message.reference.message_id == said.id
    assert all(not each.message_snapshots for each in bot.seen)


async def test_the_cdn_misbehaves_to_order(sandbox: Sandbox, bot: Reader):
    asked = await sandbox.slash(sandbox.bob, sandbox.general, "look", {"file": FILE})
    await seen(sandbox, asked)
    [file] = bot.files
    assert file is not None
    sandbox.faults.refuse("GET /ephemeral-attachments/*", 404)
    with pytest.raises(discord.NotFound):
        await file.read()
    # aiohttp asks once more by itself.
    sandbox.faults.lose("GET /ephemeral-attachments/*", times=2)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await file.read()
    assert await file.read() == FILE.data


async def test_files_and_forwards_are_as_discords_document_says(
    sandbox: Sandbox, bot: Reader, checker: Checker
):
    said = await sandbox.say(sandbox.bob, sandbox.random, "Once", files=[FILE])
    forwarded = await sandbox.forward(sandbox.bob, said, sandbox.general)
    asked = await sandbox.slash(sandbox.bob, sandbox.general, "look", {"file": FILE})
    await seen(sandbox, asked)
    view = View(sandbox.world, reads_content=True, cdn_url="http://127.0.0.1")
    for name, payload in (
        ("AttachmentResponse", view.given_file(asked.files[0])),
        ("MessageAttachmentResponse", view.attachment(said.attachments[0], said.channel)),
        ("MessageSnapshotResponse", view.message(forwarded)["message_snapshots"][0]),
    ):
        assert checker.breaches(name, payload) == []
