"""What tests share: a private Redis, empty for each test. Never the one in OVID_REDIS_URL."""

import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis

from sandbox.redis_server import RedisServer
from wire import keys
from wire.connection import connect

# A loaded machine is slow, which says nothing about the code; and every run tries the same cases.
settings.register_profile(
    "ovid", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ovid")

PATIENCE = "?socket_timeout=60&socket_connect_timeout=60"
"""Behind a Redis URL: where an outage is not what a test is about, slowness is none."""


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell engines' life from death, and a checkup's end, by minutes: no test stalls so long."""
    monkeypatch.setattr(keys, "ENGINE_ALIVE_MS", 600_000)
    monkeypatch.setattr("wire.checkup.LIMIT_S", 60.0)


@pytest.fixture(autouse=True)
def _a_slow_bot_is_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a bot more than three seconds to answer a command; the rule itself has its own test."""
    monkeypatch.setattr("sandbox.interactions.ANSWER_WITHIN_S", 60.0)


# Tests that run in the background of a shell are to ignore Ctrl-C, and what they start would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """Whoever runs the tests may have set Ovid up for other ends."""
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if name.startswith("OVID_") or name == "DISCORD_TOKEN":
                environment.delenv(name)
        yield


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def redis_server() -> AsyncIterator[RedisServer]:
    """One server for the whole run. A test that breaks its server takes `own_redis_server`."""
    async with RedisServer() as server:
        yield server


@pytest.fixture
async def redis_url(redis_server: RedisServer) -> str:
    """The URL of the shared server, emptied."""
    async with Redis.from_url(redis_server.url + PATIENCE) as redis:
        await redis.flushall()
    return redis_server.url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of the shared server, as the programs make theirs; the server is emptied."""
    async with connect(redis_url + PATIENCE) as client:
        yield client


@pytest.fixture
async def own_redis_server() -> AsyncIterator[RedisServer]:
    """A server of this test's own, with an append-only file: to kill, pause and restart."""
    async with RedisServer(append_only=True) as server:
        yield server
