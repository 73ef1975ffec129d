"""Reaching Redis: outages are noticed soon, and blocking reads end before the socket gives up."""

import asyncio
from types import SimpleNamespace

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from tests.conftest import PATIENCE
from tests.wire.lossy_proxy import LossyProxy
from tests.wire.support import BOT
from wire.connection import BLOCK_MAX_S, SOCKET_TIMEOUT_S, connect
from wire.queue import JobQueue


@pytest.mark.parametrize("url", ["unix:///tmp/ovid-nobody-is-here.sock", "redis://127.0.0.1:1/0"])
async def test_a_redis_that_is_not_there_is_noticed_within_two_seconds(url, monkeypatch):
    waited_s = 0.0

    async def wait(duration_s):
        nonlocal waited_s
        waited_s += duration_s

    # The tries themselves cost next to nothing: the time goes in between.
    monkeypatch.setattr("redis.asyncio.retry.sleep", wait)
    monkeypatch.setattr("wire.connection.time", SimpleNamespace(monotonic=lambda: waited_s))
    async with connect(url) as redis:
        with pytest.raises(RedisConnectionError):
            await redis.ping()
    assert 0 < waited_s < 2


@pytest.mark.parametrize(
    "said",
    [
        "OOM command not allowed when used memory > 'maxmemory'.",
        "READONLY You can't write against a read only replica.",
        "NOREPLICAS Not enough good replicas to write.",
        "MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk.",
    ],
)
async def test_what_an_old_redis_says_of_a_script_is_told_as_a_new_one_does(redis, said):
    wrapped = f"ERR Error running script (call to f_1): @user_script:14: @user_script: 14: -{said}"
    told = []
    for error in (said, wrapped):
        with pytest.raises(ResponseError) as caught:
            await redis.eval("return redis.error_reply(ARGV[1])", 0, error)
        told.append((caught.type, str(caught.value)))
    assert told[0] == told[1]


async def test_a_broken_connection_is_made_again(redis, redis_url):
    async with connect(redis_url) as other:
        await other.ping()
        await redis.client_kill_filter(_type="normal", skipme=True)
        assert await other.ping() is True


async def test_answers_are_bytes(redis):
    await redis.set("key", "🦉")
    assert await redis.get("key") == "🦉".encode()


async def test_a_blocking_read_ends_before_the_socket_gives_up(redis_url):
    assert BLOCK_MAX_S < SOCKET_TIMEOUT_S - 1
    async with connect(redis_url + PATIENCE) as redis:
        queue = JobQueue(redis)
        hints, rung = await asyncio.gather(
            queue.hints(BOT, "0-0", block_ms=60_000), queue.wait_for_work(60)
        )
    assert (hints, rung) == ([], False)


@pytest.mark.parametrize("connected", [True, False])
async def test_a_silent_server_costs_one_timeout(redis_url, connected):
    async with (
        LossyProxy(redis_url).serve() as proxy,
        connect(f"{proxy.url}?socket_timeout=1.1") as redis,
    ):
        if connected:
            await redis.ping()
        proxy.swallow = True
        proxy.lose(1000)
        with pytest.raises(RedisError):
            await redis.ping()
        # Whoever tries again after a timeout connects anew.
        assert proxy.num_connections == 1
        proxy.lose(0)
        assert await redis.ping() is True


async def test_no_cancellation_is_lost_wherever_a_call_stands(redis):
    await redis.ping()
    for num_turns in range(60):
        call = asyncio.create_task(redis.get("key"))
        for _ in range(num_turns % 12):
            await asyncio.sleep(0)
        if call.cancel():
            with pytest.raises(asyncio.CancelledError):
                await call
    assert await redis.set("key", "fine") is True


async def test_hundreds_of_calls_at_once_are_no_outage(redis_url):
    async with connect(redis_url + PATIENCE) as redis:
        answers = await asyncio.gather(*(redis.incr("count") for _ in range(300)))
    assert sorted(answers) == list(range(1, 301))
