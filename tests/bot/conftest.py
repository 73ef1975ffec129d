"""A sandbox that judges the bot when a test ends: by Discord's own document and by the label."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import discord
import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route
from redis.asyncio import Redis

from bot.client import BotClient
from bot.settings import BotSettings
from sandbox.server import Sandbox
from tests.bot.support import (
    Engine,
    Program,
    environment_of,
    kept_alive,
    running_bot,
    start_programs,
)
from tests.conftest import PATIENCE, be_patient
from tests.sandbox.openapi import Checker, load
from tests.wire.support import expire as expire_jobs
from wire.label import WORDINGS
from wire.queue import JobQueue

LABELLED = re.compile(
    "|".join(
        re.escape(f"-# {each}").replace(r"\{model\}", r"GPT-2(?: [^\n]+?)?") + r"(?:\n|$)"
        for each in WORDINGS.values()
    )
)
"""A whole label in any language is the first line."""


MINUTES_S = 60.0


@pytest.fixture(scope="session")
def discords_document() -> Checker | None:
    """Discord's own document, None where it is absent (the sandbox's tests say so)."""
    return load()


@pytest.fixture(autouse=True)
def _a_stalled_machine_is_no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)
    monkeypatch.setattr("bot.doctor.DISCORD_LIMIT_S", 60.0)


@pytest.fixture
def no_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no message say that a reply is on its way, however long its first text takes."""
    monkeypatch.setattr("bot.live_reply.PATIENCE_S", 60.0)


@pytest.fixture(autouse=True)
def discord_py_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put discord.py's addresses back when a test ends."""
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", DiscordWebSocket.DEFAULT_GATEWAY)
    monkeypatch.setattr(discord.Asset, "BASE", discord.Asset.BASE)


@asynccontextmanager
async def judged(sandbox: Sandbox, document: Checker | None) -> AsyncIterator[Sandbox]:
    """Judge the bot at the end: nothing pinged, all was labelled, every request was valid."""
    async with sandbox:
        yield sandbox
        for channel in (sandbox.general, sandbox.random, *sandbox.world.dms.values()):
            for message in sandbox.bot_messages(channel):
                assert message.pings == set()
                for revision in message.revisions:
                    is_sentence = revision.content.startswith("⚠️")
                    is_thinking = revision.content == ""
                    is_private = message.visible_to is not None
                    is_labelled = LABELLED.match(revision.content)
                    assert is_labelled or is_sentence or is_thinking or is_private
        if document is not None:
            assert document.problems(sandbox.recorder) == []


@pytest.fixture
async def sandbox(discords_document: Checker | None) -> AsyncIterator[Sandbox]:
    """A Discord without rate limits."""
    async with judged(Sandbox(limits={}), discords_document) as sandbox:
        yield sandbox


@pytest.fixture
async def limited_sandbox(discords_document: Checker | None) -> AsyncIterator[Sandbox]:
    """A Discord with its rate limits."""
    async with judged(Sandbox(), discords_document) as sandbox:
        yield sandbox


class Naps:
    """The waits of discord.py between its tries: none lasts, but those of minutes until `over`."""

    def __init__(self) -> None:
        self.wanted_s: list[float] = []
        self.over = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(asyncio, name)

    async def sleep(self, delay_s: float) -> None:
        """Stand in for `asyncio.sleep`."""
        self.wanted_s.append(delay_s)
        if delay_s >= MINUTES_S:
            await self.over.wait()
        await asyncio.sleep(0)


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> Naps:
    """Lets discord.py not wait."""
    naps = Naps()
    monkeypatch.setattr("discord.http.asyncio", naps)
    monkeypatch.setattr("discord.webhook.async_.asyncio", naps)
    return naps


@pytest.fixture
async def bot(sandbox: Sandbox, redis_url: str) -> AsyncIterator[BotClient]:
    """The bot, in the sandbox."""
    async with running_bot(sandbox, redis_url) as client:
        yield client


@pytest.fixture
def queue(redis: Redis) -> JobQueue:
    """The queue, for looking into."""
    return JobQueue(redis)


@pytest.fixture
async def engine(redis: Redis) -> AsyncIterator[Engine]:
    """An engine that is alive and free, however long the test takes."""
    engine = Engine(redis)
    await engine.appear()
    async with kept_alive(engine):
        yield engine


@pytest.fixture
def expire(redis: Redis) -> Callable[[], Awaitable[None]]:
    """Lets the deadlines of all open jobs pass."""

    async def let_pass() -> None:
        open_jobs = cast("list[bytes]", await redis.zrange("{ovid:0}:open", 0, -1))
        await expire_jobs(redis, *(job_id.decode() for job_id in open_jobs))

    return let_pass


@pytest.fixture
async def program(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Program]]]:
    """Starts `python -m bot` with arguments and an environment."""
    async with start_programs(tmp_path) as start:
        yield start


@pytest.fixture
async def child_bot(
    sandbox: Sandbox, redis_url: str, program: Callable[..., Awaitable[Program]]
) -> Callable[..., Awaitable[Program]]:
    """Starts the bot as people do, and waits until it is ready."""

    async def start_bot(**environment: str) -> Program:
        known = environment_of(sandbox, redis_url + PATIENCE)
        child = await program("run", **known, **environment)
        await child.until_it_logs("bot ready")
        return child

    return start_bot


@pytest.fixture
def settings(
    sandbox: Sandbox, redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., BotSettings]:
    """Puts the bot's settings into the environment, some of them changed, and reads them."""
    monkeypatch.chdir(tmp_path)

    def read(**changed: str) -> BotSettings:
        for name, value in (environment_of(sandbox, redis_url) | changed).items():
            monkeypatch.setenv(name, value)
        return BotSettings()

    return read
