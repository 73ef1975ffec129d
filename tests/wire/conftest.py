"""The queue on the shared private server."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from sandbox.redis_server import RedisServer
from wire.connection import connect
from wire.queue import JobQueue


@pytest.fixture
def queue(redis: Redis) -> JobQueue:
    return JobQueue(redis)


class Runner:
    """Runs coroutines from plain functions: Hypothesis calls its tests without a loop."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    @asynccontextmanager
    async def queue(self, server: RedisServer) -> AsyncIterator[JobQueue]:
        """A queue on an emptied server."""
        async with connect(server.url) as redis:
            await redis.flushall()
            yield JobQueue(redis)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with asyncio.Runner() as runner:
        yield Runner(runner)
