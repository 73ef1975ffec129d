"""The queue at a Cluster and behind Sentinels: real servers, of which some die or change places."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import AskError, RedisError

from sandbox.redis_server import RedisServer
from tests.wire.lossy_proxy import LossyProxy
from tests.wire.redis_modes import (
    SERVICE,
    Watched,
    ask,
    ask_for_password,
    certify,
    cluster,
    info,
    until,
    watched,
)
from tests.wire.support import BOT, PREFIX, beat, claim_ids, finish, record_of, submit
from wire.connection import connect
from wire.queue import JobQueue, JobState
from wire.server_checkup import SCRIPTS_HEED_REPLICAS


async def skip_where_scripts_heed_no_replicas(server: RedisServer) -> None:
    async with connect(server.url) as redis:
        version = (await redis.info("server"))["redis_version"]
    if tuple(map(int, version.split("."))) < SCRIPTS_HEED_REPLICAS:
        pytest.skip(f"Redis {version} lets scripts write without replicas, of which doctor warns")


async def by_and_by(call: Callable[[], Awaitable[Any]]) -> Any:
    """Repeat a call as the programs do, until Redis answers it, which may be at once."""
    found: list[Any] = []

    async def answered() -> bool:
        found.append(await call())
        return True

    await until(answered)
    return found[0]


async def live_through(queue: JobQueue) -> None:
    """Take a job through all that the programs do with one."""
    await submit(queue, "a", "b")
    assert await queue.wait_for_work(1) is True
    assert await claim_ids(queue, num_free=1) == ["a"]
    assert await queue.place("b") == 1
    assert await beat(queue, "a", "Once") == 1
    assert await finish(queue, "a", " more", offset=4) == 1
    assert (await record_of(queue, "a")).text == "Once more"
    assert await queue.own(BOT) == {"a", "b"}
    await queue.shown(BOT, "a")
    hints = await queue.hints(BOT, "0-0", block_ms=0)
    assert [each.kind for each in hints] == ["started", "delta", "ended"]
    assert await queue.follow(BOT) == hints[-1].entry_id
    assert await queue.cancel("b") is True
    assert (await queue.tick()).num_engines == 1


async def test_a_cluster_carries_the_queue_whichever_node_is_asked():
    async with cluster() as nodes:
        for node in nodes.nodes:
            async with connect(f"redis+cluster://127.0.0.1:1,127.0.0.1:{node.port}") as redis:
                await live_through(JobQueue(redis))
                assert int((await redis.info("server"))["tcp_port"]) == nodes.owner.port
                await redis.flushall()


async def test_when_the_queues_node_dies_its_replica_goes_on():
    async with cluster(replica=True) as nodes, connect(nodes.url) as redis:
        queue = JobQueue(redis)
        await submit(queue, "a")
        assert await claim_ids(queue) == ["a"]
        await beat(queue, "a", "Once")
        await redis.wait(1, 10_000)
        await nodes.kill(nodes.owner)
        assert await by_and_by(lambda: beat(queue, "a", " more", offset=4)) == 1
        assert int((await redis.info("server"))["tcp_port"]) != nodes.owner.port
        assert await finish(queue, "a", " more", offset=4) == 1
        assert (await record_of(queue, "a")).text == "Once more"


async def test_a_node_without_a_replica_is_waited_for():
    async with cluster() as nodes, connect(nodes.url) as redis:
        queue = JobQueue(redis)
        await submit(queue, "a")
        await nodes.owner.kill()
        with pytest.raises(RedisError):
            await queue.tick()
        await nodes.owner.restart()
        assert await by_and_by(lambda: claim_ids(queue)) == ["a"]


async def test_while_the_queue_moves_to_another_node_it_is_waited_for_and_not_taken_in_halves():
    async with cluster() as nodes, connect(nodes.url) as redis:
        queue = JobQueue(redis)
        await submit(queue, "a", "b")
        await claim_ids(queue, num_free=1)
        source = nodes.owner
        target = next(each for each in nodes.nodes if each is not source)
        slot = await ask(source, "CLUSTER", "KEYSLOT", PREFIX)
        source_id, target_id = [await ask(each, "CLUSTER", "MYID") for each in (source, target)]
        await ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        await ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        keys = await ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 1000)
        for some in (keys[: len(keys) // 2], keys[len(keys) // 2 :]):
            for key in some:
                await ask(source, "MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
            with pytest.raises(AskError):
                await queue.tick()
        for each in (target, source):
            await ask(each, "CLUSTER", "SETSLOT", slot, "NODE", target_id)
        stats = await by_and_by(queue.tick)
        assert (stats.num_waiting, stats.num_running) == (1, 1)
        assert await claim_ids(queue, held=["a"]) == ["b"]
        assert await finish(queue, "a") == 1


async def test_tls_is_spoken_with_the_node_that_is_asked_and_with_the_one_that_is_found(
    own_redis_server: RedisServer, tmp_path: Path
):
    ca = tmp_path / "ca.crt"
    async with LossyProxy(own_redis_server.url).serve(certify(ca)) as proxy:
        place = proxy.url.removeprefix("rediss://").removesuffix("/0")
        async with connect(f"rediss+cluster://{place}?ssl_ca_certs={ca}") as redis:
            await live_through(JobQueue(redis))
        async with connect(f"redis+cluster://{place}?socket_timeout=1") as redis:
            with pytest.raises(RedisError):
                await JobQueue(redis).tick()


async def test_sentinels_lead_to_the_master_and_after_its_death_to_the_next():
    async with watched() as servers, connect(servers.url) as redis:
        queue = JobQueue(redis)
        await live_through(queue)
        await submit(queue, "c")
        await claim_ids(queue)
        await beat(queue, "c", "Once")
        await redis.wait(1, 10_000)
        await servers.kill_master()
        assert await by_and_by(lambda: beat(queue, "c", " more", offset=4)) == 1
        assert await finish(queue, "c") == 1
        assert (await record_of(queue, "c")).text == "Once more"
        assert int((await redis.info("server"))["tcp_port"]) == servers.replica.port


async def test_a_master_that_lives_on_and_takes_nothing_any_more_is_left():
    async with watched() as servers, connect(servers.url) as redis:
        await skip_where_scripts_heed_no_replicas(servers.master)
        queue = JobQueue(redis)
        await submit(queue, "a")
        await redis.wait(1, 10_000)
        await ask(servers.master, "CONFIG", "SET", "min-replicas-to-write", 1)
        await until(lambda: _has_failed_over(servers))
        assert await by_and_by(lambda: claim_ids(queue)) == ["a"]
        assert int((await redis.info("server"))["tcp_port"]) == servers.replica.port


async def _has_failed_over(servers: Watched) -> bool:
    """Ask for a failover until there was one: where the machine is slow, Sentinels give it up."""
    if await _is_master(servers.replica):
        return True
    # Refused while one is under way.
    await ask(servers.sentinel, "SENTINEL", "FAILOVER", SERVICE)
    return False


async def _is_master(server: RedisServer) -> bool:
    return bool((await info(server))["role"] == "master")


async def test_a_name_that_leads_to_another_server_by_now_is_followed(
    own_redis_server: RedisServer, redis_url: str
):
    async with LossyProxy(own_redis_server.url).serve() as proxy, connect(proxy.url) as redis:
        queue = JobQueue(redis)
        await submit(queue, "a")
        proxy.lead_to(redis_url)
        assert (await queue.tick()).num_waiting == 1
        await ask(own_redis_server, "REPLICAOF", "127.0.0.1", 1)
        assert (await queue.tick()).num_waiting == 0


async def test_a_server_that_was_left_without_replicas_is_left_too(
    own_redis_server: RedisServer, redis_url: str
):
    await skip_where_scripts_heed_no_replicas(own_redis_server)
    async with LossyProxy(own_redis_server.url).serve() as proxy, connect(proxy.url) as redis:
        queue = JobQueue(redis)
        await submit(queue, "a")
        proxy.lead_to(redis_url)
        await ask(own_redis_server, "CONFIG", "SET", "min-replicas-to-write", 1)
        with pytest.raises(RedisError, match="Not enough good replicas"):
            await queue.tick()
        assert (await queue.tick()).num_waiting == 0


async def test_a_master_that_the_sentinels_do_not_know_is_named():
    async with watched() as servers:
        url = f"redis+sentinel://127.0.0.1:{servers.sentinel.port}/other"
        async with connect(url) as redis:
            with pytest.raises(MasterNotFoundError, match="know no master called 'other'"):
                await JobQueue(redis).tick()


async def test_sentinels_and_master_may_ask_for_different_passwords():
    async with watched() as servers:
        for each in (servers.master, servers.replica):
            await ask(each, "CONFIG", "SET", "requirepass", "ours")
        await ask_for_password(servers.sentinel, "theirs")
        place = servers.url.removeprefix("redis+sentinel://")
        url = f"redis+sentinel://:ours@{place}?sentinel_password=theirs"
        async with connect(url) as redis:
            await live_through(JobQueue(redis))


async def test_a_master_that_becomes_a_replica_and_a_master_again_is_an_outage_of_writes(
    own_redis_server: RedisServer,
):
    async with connect(own_redis_server.url) as redis:
        queue = JobQueue(redis)
        await submit(queue, "a")
        await ask(own_redis_server, "REPLICAOF", "127.0.0.1", 1)
        for call in (queue.tick, lambda: submit(queue, "b"), lambda: claim_ids(queue)):
            with pytest.raises(RedisError, match="read only"):
                await call()
        await ask(own_redis_server, "REPLICAOF", "NO", "ONE")
        assert await claim_ids(queue) == ["a"]
        await submit(queue, "b")


async def test_a_master_without_its_replicas_takes_nothing_until_they_are_back(
    own_redis_server: RedisServer,
):
    await skip_where_scripts_heed_no_replicas(own_redis_server)
    async with connect(own_redis_server.url) as redis:
        queue = JobQueue(redis)
        await ask(own_redis_server, "CONFIG", "SET", "min-replicas-to-write", 1)
        with pytest.raises(RedisError, match="Not enough good replicas"):
            await submit(queue, "a")
        await ask(own_redis_server, "CONFIG", "SET", "min-replicas-to-write", 0)
        await submit(queue, "a")
        assert await claim_ids(queue) == ["a"]
        assert (await record_of(queue, "a")).state is JobState.RUNNING


async def test_a_password_that_changes_is_asked_of_new_connections_only(
    own_redis_server: RedisServer,
):
    async with connect(own_redis_server.url) as old, connect(own_redis_server.url) as new:
        await old.ping()
        await ask(own_redis_server, "CONFIG", "SET", "requirepass", "changed")
        await live_through(JobQueue(old))
        with pytest.raises(RedisError, match=r"(?i)authentication required"):
            await JobQueue(new).tick()
        await _set_no_password(own_redis_server)
        assert (await JobQueue(new).tick()).num_engines == 1


async def _set_no_password(server: RedisServer) -> None:
    async with Redis.from_url(server.url, password="changed") as client:
        await client.config_set("requirepass", "")
