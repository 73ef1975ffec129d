"""A small bot on the real discord.py, and how to point discord.py at a sandbox."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import discord
import pytest
import yarl
from discord import app_commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from sandbox.server import Sandbox

B = TypeVar("B", bound="Bot")

INTENTS = discord.Intents(guilds=True, messages=True, reactions=True, typing=True)
DEADLINE_S = 60.0


class Bot(discord.Client):
    """Keeps what it sees; a test gives it commands with `tree` and looks at `seen`."""

    def __init__(self, intents: discord.Intents = INTENTS, **options: Any) -> None:
        super().__init__(intents=intents, guild_ready_timeout=0.1, **options)
        self.tree = app_commands.CommandTree(self)
        self.seen: list[discord.Message] = []
        self.edited: list[discord.RawMessageUpdateEvent] = []
        self.deleted: list[discord.RawMessageDeleteEvent] = []
        self.resumed = asyncio.Event()
        self.readies = 0
        self._looks = asyncio.Condition()

    async def setup_hook(self) -> None:
        if self.tree.get_commands() or self.tree.get_commands(type=discord.AppCommandType.message):
            await self.tree.sync()

    async def _look(self) -> None:
        async with self._looks:
            self._looks.notify_all()

    async def until(self, predicate: Callable[[], object]) -> None:
        """Wait until something that the bot keeps is so."""
        async with asyncio.timeout(DEADLINE_S), self._looks:
            await self._looks.wait_for(predicate)

    async def on_ready(self) -> None:
        self.readies += 1
        await self._look()

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        await self._look()

    async def on_guild_channel_update(self, *_: discord.abc.GuildChannel) -> None:
        await self._look()

    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        await self._look()

    async def on_guild_available(self, guild: discord.Guild) -> None:
        await self._look()

    def knows_all(self) -> bool:
        """Whether it has heard of its servers: on a loaded machine it is ready before that."""
        return self.readies > 0 and not any(guild.unavailable for guild in self.guilds)

    async def on_resumed(self) -> None:
        self.resumed.set()

    async def on_message(self, message: discord.Message) -> None:
        self.seen.append(message)
        await self._look()

    async def on_raw_message_edit(self, event: discord.RawMessageUpdateEvent) -> None:
        self.edited.append(event)
        await self._look()

    async def on_raw_message_delete(self, event: discord.RawMessageDeleteEvent) -> None:
        self.deleted.append(event)
        await self._look()


@contextmanager
def pointed_at(sandbox: Sandbox) -> Any:
    """Let discord.py speak to a sandbox."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Route, "BASE", sandbox.api_url)
        patch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(sandbox.gateway_url))
        yield


@asynccontextmanager
async def connected(sandbox: Sandbox, bot: B) -> AsyncIterator[B]:
    """Run a bot until the block ends; what it dies of is raised."""
    with pointed_at(sandbox):
        running = asyncio.create_task(bot.start(sandbox.token))
        ready = asyncio.create_task(bot.until(bot.knows_all))
        try:
            await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                await running
            yield bot
        finally:
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)
            await bot.close()
            await asyncio.gather(running, return_exceptions=True)
