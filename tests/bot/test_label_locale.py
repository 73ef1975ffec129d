"""In whose language the label is: the server's, else the person's, else English."""

import unicodedata
from collections.abc import AsyncIterator

import discord
import pytest

from bot.client import BotClient
from bot.inert import inert
from bot.label import label
from sandbox.model import Message
from sandbox.server import Sandbox
from tests.bot.conftest import judged
from tests.bot.label_cases import units
from tests.bot.support import MARK, Engine, running_bot, until_is
from tests.sandbox.openapi import Checker
from wire.label import WORDINGS

GERMAN = "-# 🤖 Maschinell erzeugt von GPT-2 124M · nicht von einem Menschen geschrieben"
EARLY_GERMAN = "-# 🤖 Maschinell erzeugt von GPT-2 · nicht von einem Menschen geschrieben"


@pytest.fixture
async def german_sandbox(discords_document: Checker | None) -> AsyncIterator[Sandbox]:
    """A Discord whose server prefers German."""
    async with judged(Sandbox(limits={}, guild_locale="de"), discords_document) as sandbox:
        yield sandbox


def first_lines(message: Message) -> set[str]:
    """The first line of everything that a message has ever said."""
    said = (revision.content for revision in message.revisions)
    return {content.partition("\n")[0] for content in said if content}


async def test_in_a_german_server_the_label_is_german_from_the_first_post_to_the_last_edit(
    german_sandbox: Sandbox, redis_url: str, engine: Engine
):
    sandbox = german_sandbox
    async with running_bot(sandbox, redis_url):
        asked = await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} Es")
        reply = await sandbox.wait_for_reply(asked)
        job = await engine.take()
        await engine.write(job, " war")
        await until_is(sandbox, reply, f"{GERMAN}\n war{MARK}")
        await engine.end(job, " einmal")
        await until_is(sandbox, reply, f"{GERMAN}\n war einmal")
        assert first_lines(reply) == {EARLY_GERMAN, GERMAN}


@pytest.mark.usefixtures("no_notices")
async def test_generate_in_a_server_takes_the_servers_language_before_the_persons(
    german_sandbox: Sandbox, redis_url: str, engine: Engine
):
    sandbox = german_sandbox
    async with running_bot(sandbox, redis_url):
        called = await sandbox.slash(sandbox.alice, sandbox.general, "generate")
        await engine.end(await engine.take(), "Es war einmal")
        await sandbox.wait_for(lambda: called.original and called.original.content)
        assert called.original
        assert first_lines(called.original) == {GERMAN}


@pytest.mark.usefixtures("no_notices")
async def test_generate_in_private_takes_the_persons_language(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    assert sandbox.bob.locale == "de"
    called = await sandbox.slash(sandbox.bob, sandbox.dm(sandbox.bob), "generate")
    await engine.end(await engine.take(), "Es war einmal")
    await sandbox.wait_for(lambda: called.original and called.original.content)
    assert called.original
    assert first_lines(called.original) == {GERMAN}


async def test_a_direct_message_does_not_say_whose_language_so_the_label_is_english(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    asked = await sandbox.say(sandbox.bob, sandbox.dm(sandbox.bob), "Es war einmal")
    await engine.end(await engine.take(), " ein")
    reply = await sandbox.wait_for_reply(asked)
    await until_is(sandbox, reply, f"{label('124M')}\n ein")


@pytest.mark.parametrize("locale", list(discord.Locale))
def test_every_language_that_discord_has_reads_a_whole_label(locale: discord.Locale):
    name = "X" * 99
    line = label(name, str(locale))
    said = line.removeprefix("-# ")
    assert said.startswith("🤖 ")
    assert len(line.splitlines()) == 1
    assert f"GPT-2 {'X' * 39}…" in line
    assert units(line) <= 200
    assert inert(said) == said
    assert (line == label(name)) == str(locale).startswith("en")


def test_every_wording_is_used_and_no_two_are_the_same():
    used = {label("124M", str(locale)) for locale in discord.Locale}
    assert len(used) == len(WORDINGS) == len(set(WORDINGS.values()))
    assert len(WORDINGS) >= 20


def test_no_wording_holds_a_character_that_turns_the_line_around_or_is_read_from_the_right():
    for wording in WORDINGS.values():
        assert {unicodedata.bidirectional(char) for char in wording}.isdisjoint(
            ("R", "AL", "AN", "RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI", "FSI", "PDI")
        )
