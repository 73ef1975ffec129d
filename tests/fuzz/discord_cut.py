"""The bot, with Discord cut off below discord.py: what would be sent there is judged.

Real: discord.py on both sides of the bot, the bot, the queue, Redis. Played: Discord's REST, which
takes whatever is sent and keeps it, and an engine that writes what a case says.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

from discord.http import HTTPClient
from discord.webhook.async_ import AsyncWebhookAdapter
from redis.asyncio import Redis

from bot.client import BotClient
from bot.follower import Follower
from bot.metrics import BotMetrics
from bot.pace import Pace
from bot.queue_watch import QueueWatch
from sandbox.redis_server import RedisServer
from tests.conftest import PATIENCE
from tests.fuzz.door import Try
from tests.fuzz.played_discord import BOT_ID, GUILD, MODEL, PROVENANCE, USAGE, Discord, Json
from wire.connection import connect
from wire.jobs import Done, FinishReason
from wire.queue import Bounds, JobQueue, Progress
from wire.verdicts import Verdict, Verified

MOMENT_S = 0.01


class _Errors(logging.Handler):
    """Keeps what is logged as an error: nothing that comes in may lead to one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # What is no HTTP aiohttp refuses by itself, and notes it as an error of its own.
        if record.name != "aiohttp.server":
            self.said.append(self.format(record))


@contextmanager
def logged_errors() -> Iterator[list[str]]:
    """Give the list that errors' log lines are added to."""
    errors = _Errors()
    logging.getLogger().addHandler(errors)
    try:
        yield errors.said
    finally:
        logging.getLogger().removeHandler(errors)


@contextmanager
def _errors_alone() -> Iterator[None]:
    """Let the bot log no more than errors, for which alone anybody looks."""
    log = logging.getLogger("bot")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


class UnreadableError(Exception):
    """Discord would have to send what its own documentation rules out."""


class CutBot:
    """A bot that is connected to nothing but Redis."""

    def __init__(self, client: BotClient, redis: Redis, errors: list[str]) -> None:
        self.discord = Discord()
        self.queue = JobQueue(redis)
        self.client = client
        self.redis = redis
        self._errors = errors
        self._ids = itertools.count(10**9)

    @property
    def follower(self) -> Follower:
        """Return what follows the queue."""
        assert self.client._follower is not None
        return self.client._follower

    async def begin(self) -> None:
        """Forget the case before."""
        await self.redis.flushall()
        await self.queue.claim("engine", [MODEL], 0, [])
        self.discord.clear()
        self._errors.clear()

    def new_id(self) -> str:
        """Make an id that no case had before."""
        return str(next(self._ids))

    async def hear(self, event: str, data: Json) -> None:
        """Let the bot deal with a gateway event.

        Raises:
            UnreadableError: discord.py cannot read it at all.
        """
        before = asyncio.all_tasks()
        try:
            getattr(self.client._connection, f"parse_{event}")(data)
        except Exception as error:
            raise UnreadableError from error
        while begun := asyncio.all_tasks() - before - self._reply_tasks():
            for task in (await asyncio.wait(begun))[0]:
                task.result()
            before |= begun

    def _reply_tasks(self) -> set[asyncio.Task[Any]]:
        replies = self.follower._replies
        return set() if replies is None else set(replies._tasks)

    async def write(self, text: str) -> list[str]:
        """Let an engine write every waiting reply; return the jobs, once they are shown."""
        written = []
        for claimed in await self.queue.claim("engine", [MODEL], 10, []):
            job = claimed.job
            progress = Progress(job.job_id, claimed.attempt, 0, text)
            outcome = (
                Verified(verdict=Verdict.NO_SIGN, num_scored=200, p_value=0.5)
                if job.kind == "verify"
                else Done(
                    finish_reason=FinishReason.LENGTH,
                    usage=USAGE,
                    seed=7,
                    model_name=MODEL,
                    provenance=PROVENANCE,
                )
            )
            assert await self.queue.finish("engine", progress, outcome) == 1
            written.append(job.job_id)
        while self.follower._live:
            await asyncio.wait(self._reply_tasks() - self._lasting(), timeout=0.01)
        self.check_posts()
        assert not await self.queue.own(str(BOT_ID)), "a last word was not shown"
        return written

    async def look_again(self, job_ids: Iterable[str]) -> None:
        """Let replies look at their jobs, and give them a moment."""
        awake = [self.follower.wake(job_id) for job_id in job_ids]
        if any(awake):
            await asyncio.wait(self._reply_tasks() - self._lasting(), timeout=MOMENT_S)

    def _lasting(self) -> set[asyncio.Task[Any]]:
        return {task for task in self._reply_tasks() if "supervised" in repr(task)}

    def check_posts(self) -> None:
        """See that nothing was sent that may not be."""
        assert not self.discord.wrong, "\n".join(self.discord.wrong)

    def check_loops(self) -> None:
        """See that none of the bot's lasting loops broke off."""
        broken = [each for each in self._errors if "it starts again in" in each]
        assert not broken, "\n".join(broken)

    def check_logs(self, *, but_for: str = "nothing") -> None:
        """See that nothing went wrong out of sight."""
        errors = [each for each in self._errors if not each.startswith(but_for)]
        assert not errors, "\n".join(errors)


@asynccontextmanager
async def cut_bot() -> AsyncIterator[CutBot]:
    """Start a bot on a Redis of its own."""
    async with (
        RedisServer() as server,
        connect(server.url + PATIENCE) as redis,
        QueueWatch(JobQueue(redis)) as watch,
    ):
        bounds, metrics = Bounds(10_000, 10_000), BotMetrics()
        client = BotClient(watch.queue, bounds, Pace(0.0), watch=watch, metrics=metrics)
        with _errors_alone(), logged_errors() as errors:
            bot = CutBot(client, redis, errors)
            with (
                patch.object(HTTPClient, "request", bot.discord.rest),
                patch.object(AsyncWebhookAdapter, "request", bot.discord.webhook),
            ):
                await _log_in(client)
                try:
                    yield bot
                finally:
                    await client.close()


def at_cut_bot(
    attempt: Callable[[CutBot, Any], Awaitable[None]],
) -> Callable[[], AbstractAsyncContextManager[Try]]:
    """Make what opens a door to such a bot.

    Args:
        attempt: Tries one case.
    """

    @asynccontextmanager
    async def opened() -> AsyncIterator[Try]:
        async with cut_bot() as bot:
            yield partial(attempt, bot)

    return opened


async def _log_in(client: BotClient) -> None:
    await client.login("a token")
    client._connection._add_guild_from_data(GUILD)  # type: ignore[arg-type]
