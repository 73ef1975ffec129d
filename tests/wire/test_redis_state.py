"""What is known of Redis after calls that went well or wrong."""

import logging

import pytest
from redis.asyncio import Redis
from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from sandbox.redis_server import RedisServer
from tests.wire.redis_modes import without_a_disk
from wire import redis_state
from wire.connection import connect
from wire.queue import JobQueue
from wire.redis_state import RedisState, RedisWatch

log = logging.getLogger("wire.test")


@pytest.fixture
def watch() -> RedisWatch:
    return RedisWatch(log)


def test_nothing_heard_is_away(watch: RedisWatch):
    assert watch.state is RedisState.AWAY


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (RedisConnectionError("refused"), RedisState.AWAY),
        (RedisTimeoutError("silent"), RedisState.AWAY),
        (OutOfMemoryError("OOM"), RedisState.FULL),
        (ReadOnlyError("replica"), RedisState.READ_ONLY),
        (ClusterDownError("the cluster is down"), RedisState.DOWN),
        (TryAgainError("a slot is moving"), RedisState.DOWN),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), RedisState.DOWN),
        (MovedError("5474 127.0.0.1:6379"), RedisState.REFUSES),
        (ResponseError("unknown command"), RedisState.REFUSES),
        (AuthenticationError("password"), RedisState.REFUSES),
        (NoPermissionError("right"), RedisState.REFUSES),
    ],
    ids=lambda value: f"{value!r}" if isinstance(value, RedisError) else f"{value}",
)
def test_each_error_says_how_redis_is(watch: RedisWatch, error: RedisError, state: RedisState):
    watch.wrote("tick")
    watch.failed("tick", error)
    assert watch.state is state
    watch.wrote("tick")
    assert watch.answers


def test_who_is_cut_off_as_a_master_becomes_a_replica_was_refused_nothing(watch: RedisWatch):
    watch.failed("hints", ResponseError("UNBLOCKED force unblock from blocking operation"))
    watch.failed("tick", ReadOnlyError("replica"))
    assert watch.state is RedisState.READ_ONLY
    watch.wrote("tick")
    assert watch.answers


def test_who_may_not_write_to_a_replica_has_the_right_to(watch: RedisWatch):
    watch.failed("tick", NoPermissionError("right"))
    watch.failed("tick", ReadOnlyError("replica"))
    assert watch.state is RedisState.READ_ONLY


def test_only_a_write_ends_what_a_refused_write_began(watch: RedisWatch):
    watch.failed("tick", OutOfMemoryError("OOM"))
    watch.read("hints")
    assert watch.state is RedisState.FULL
    watch.failed("tick", RedisConnectionError("cut"))
    watch.read("hints")
    assert watch.state is RedisState.FULL
    watch.wrote("tick")
    assert watch.answers


def test_only_a_call_of_its_kind_ends_what_is_refused_for_want_of_a_right(
    watch: RedisWatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    for _ in range(3):
        watch.failed("hints", NoPermissionError("no right to XREAD"))
        for kind in ("tick", "claim"):
            watch.wrote(kind)
            assert watch.state is RedisState.REFUSES
    watch.failed("tick", OutOfMemoryError("OOM"))
    watch.failed("tick", NoPermissionError("no right to GET"))
    watch.read("hints")
    assert watch.state is RedisState.REFUSES
    watch.wrote("tick")
    assert watch.answers
    begun, over = caplog.messages
    assert begun == "Redis is not doing what it is asked, waiting for it: no right to XREAD"
    assert over.startswith("Redis answers again after ")


def test_an_old_answer_says_nothing_of_now(watch: RedisWatch, monkeypatch: pytest.MonkeyPatch):
    watch.wrote("tick")
    assert watch.answers
    monkeypatch.setattr(redis_state, "STALE_S", -1.0)
    assert watch.state is RedisState.AWAY


def test_an_outage_is_logged_once_with_its_beginning_and_its_end(
    watch: RedisWatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    watch.wrote("tick")
    for _ in range(3):
        watch.failed("tick", RedisConnectionError("refused"))
    for _ in range(3):
        watch.wrote("tick")
    assert len(caplog.messages) == 2
    assert caplog.messages[0] == "Redis is away, waiting for it: refused"
    assert caplog.messages[1].startswith("Redis answers again after ")


async def test_a_tick_tells_that_memory_is_full_and_that_it_is_not_any_more():
    async with RedisServer() as server, connect(server.url) as redis:
        await check_fullness(redis, JobQueue(redis))


async def check_fullness(redis: Redis, queue: JobQueue) -> None:
    assert not (await queue.tick()).is_full
    keys = await redis.keys("*")
    await redis.config_set("maxmemory", 1)
    assert (await queue.tick()).is_full
    await redis.config_set("maxmemory", 0)
    assert not (await queue.tick()).is_full
    assert await redis.keys("*") == keys


async def test_a_redis_that_cannot_write_to_its_disk_is_down(watch: RedisWatch):
    async with without_a_disk() as server, connect(server.url) as redis:
        with pytest.raises(ResponseError) as refused:
            await JobQueue(redis).tick()
        watch.failed("tick", refused.value)
        assert watch.state is RedisState.DOWN


async def test_a_key_of_a_wrong_type_is_no_full_memory(redis: Redis):
    await redis.set("{ovid:0}:open", "of another program")
    assert not (await JobQueue(redis).tick()).is_full
