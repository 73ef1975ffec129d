"""The queue on the shared private server."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from sandbox.redis_server import RedisServer
from tests.conftest import PATIENCE, be_patient
from tests.wire.support import COMMON, RARE
from wire import keys
from wire.connection import connect
from wire.queue import JobQueue


@pytest.fixture(autouse=True)
def _a_stalled_machine_is_no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is told from an outage, and life from death, by minutes: so long no test stalls."""
    be_patient(monkeypatch)
    monkeypatch.setattr(keys, "FREEZE_GAP_MS", 60_000)


@pytest.fixture
def queue(redis: Redis) -> JobQueue:
    return JobQueue(redis)


@pytest.fixture
async def patient_queue(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[JobQueue]:
    """A queue whose waits last half a minute: what ends one sooner is news."""
    monkeypatch.setattr("wire.queue.BLOCK_MAX_S", 30.0)
    async with connect(redis_url + PATIENCE) as redis:
        yield JobQueue(redis)


@pytest.fixture
async def engines(queue: JobQueue) -> None:
    """A common engine and a rare one, both full."""
    await queue.claim("common", COMMON, 0, [])
    await queue.claim("rare", RARE, 0, [])


class Runner:
    """Runs coroutines from plain functions: Hypothesis calls its tests without a loop."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    @asynccontextmanager
    async def queue(self, server: RedisServer) -> AsyncIterator[JobQueue]:
        """A queue on an emptied server."""
        async with connect(server.url + PATIENCE) as redis:
            await redis.flushall()
            yield JobQueue(redis)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with asyncio.Runner() as runner:
        yield Runner(runner)
