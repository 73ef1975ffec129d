"""What a load measurement runs on: Redis, engines and a bot of their own, and the local Discord.

The local Discord runs in this process, the bot, the engines and Redis each in one of their own.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.load.watch import Watch
from sandbox.model import User
from sandbox.redis_server import RedisServer
from sandbox.server import Sandbox
from tests.end_to_end.stack import Stack
from tests.faults.account import Account
from tests.faults.conftest import save_quick
from tests.wire.lossy_proxy import LossyProxy

HEARTBEAT_INTERVAL_S = 0.5
"""Discord's is 41 s; each heartbeat has to come through the bot's loop, so it samples its lag."""


ENDS_WITHIN_S = 600.0
"""Generous: a loaded machine says nothing about the bot."""
LOOK_INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True)
class Stage:
    """Programs that run, and who asks them."""

    stack: Stack
    watch: Watch

    @property
    def sandbox(self) -> Sandbox:
        """The local Discord."""
        return self.stack.sandbox

    def join(self, number: int, account: Account) -> list[User]:
        """Let so many more people join, with a channel for each, in which `account` asks."""
        users = [self.sandbox.join(f"user {each}") for each in range(number)]
        for user in users:
            account.home(user)
        return users

    async def until_over(self, account: Account) -> None:
        """Wait until all are answered. To look closer would burden what is measured."""
        own, bot_id = self.stack.queue.own, str(self.sandbox.bot_user.id)
        async with asyncio.timeout(ENDS_WITHIN_S):
            while not all(map(account.messages, account.asks)) or await own(bot_id):
                await asyncio.sleep(LOOK_INTERVAL_S)


@asynccontextmanager
async def stage(
    *,
    engines: int = 1,
    slots: int = 16,
    save_model: Callable[[Path], Path] = save_quick,
    lost: float = 0.0,
    **settings: str,
) -> AsyncIterator[Stage]:
    """Run everything while the block lasts.

    Args:
        engines: How many, each with one thread.
        slots: Of each engine.
        save_model: Makes the model that they run; the usual one is small, so that the bot shows.
        lost: The share of Redis's answers that reach neither bot nor engines.
        settings: Of the bot, as in its environment.
    """
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(TemporaryDirectory()))
        model = save_model(folder / "models" / "random")
        redis = await opened.enter_async_context(RedisServer(append_only=True))
        sandbox = Sandbox()
        sandbox.gateway.heartbeat_interval_ms = int(HEARTBEAT_INTERVAL_S * 1000)
        stack = await opened.enter_async_context(Stack(redis, model, sandbox=sandbox, logs=folder))
        wire = await opened.enter_async_context(LossyProxy(redis.url).serve())
        where = {"OVID_REDIS_URL": wire.url} if lost else {}
        for _ in range(engines):
            await stack.start_engine(slots, **where)
        bot = await stack.start_bot(**where, **settings)
        wire.rate = lost
        async with Watch(bot.pid, sandbox, HEARTBEAT_INTERVAL_S) as watch:
            yield Stage(stack, watch)
