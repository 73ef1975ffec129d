"""What is said of a Redis behind TLS or Sentinels, of a Cluster, of one that refuses writes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from sandbox.redis_server import RedisServer
from tests.wire.lossy_proxy import LossyProxy
from tests.wire.redis_modes import (
    ask,
    ask_for_password,
    certify,
    cluster,
    until,
    watched,
    without_a_disk,
)
from tests.wire.support import PREFIX, claim
from wire.checkup import check_queue
from wire.connection import connect
from wire.findings import Finding, exit_status
from wire.queue import JobQueue
from wire.version import VERSION


async def check(url: str) -> list[Finding]:
    return await check_queue(url, engine_expected=False)


def worst(found: list[Finding]) -> str:
    """The first line of the worst that was found."""
    return next(each.line() for each in found if exit_status([each]) == exit_status(found))


@pytest.fixture
async def own(own_redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with connect(own_redis_server.url) as client:
        yield client


async def test_tls_with_the_authority_named_is_all_well(
    own_redis_server: RedisServer, tmp_path: Path
):
    ca = tmp_path / "ca.crt"
    async with LossyProxy(own_redis_server.url).serve(certify(ca)) as proxy:
        found = await check(f"{proxy.url}?ssl_ca_certs={ca}")
    assert exit_status(found) == 0


@pytest.mark.parametrize(
    ("name", "trusted", "reason"),
    [
        ("127.0.0.1", False, "unable to get local issuer certificate"),
        ("redis.example", True, "IP address mismatch"),
    ],
)
async def test_a_certificate_that_is_not_to_be_trusted_is_told_with_the_remedy(
    own_redis_server: RedisServer, tmp_path: Path, name: str, trusted: bool, reason: str
):
    ca, other = tmp_path / "ca.crt", tmp_path / "other.crt"
    certify(other)
    async with LossyProxy(own_redis_server.url).serve(certify(ca, name)) as proxy:
        line = worst(await check(f"{proxy.url}?ssl_ca_certs={ca if trusted else other}"))
    assert line.startswith("FAULT tls: the certificate at rediss://127.0.0.1:")
    assert reason in line
    assert "?ssl_ca_certs=/path/ca.crt" in line


async def test_a_server_without_tls_is_told_from_an_absent_one(own_redis_server: RedisServer):
    async with LossyProxy(own_redis_server.url).serve() as proxy:
        url = f"{proxy.url.replace('redis://', 'rediss://')}?socket_connect_timeout=0.3"
        line = worst(await check(url))
    assert line.startswith("FAULT tls: nobody answers in TLS at rediss://127.0.0.1:")
    assert line.endswith("OVID_REDIS_URL begins with redis and not rediss.")


async def test_what_answers_without_tls_is_told():
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR unknown command\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        line = worst(await check(f"rediss://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    assert line.startswith("FAULT tls: no TLS is spoken at rediss://127.0.0.1:")


async def test_an_authority_that_is_not_there_is_named():
    line = worst(await check("rediss://:s3cret@127.0.0.1:1?ssl_ca_certs=/nowhere/ca.crt"))
    assert "ssl_ca_certs in the Redis URL names a file that cannot be read: /nowhere/ca" in line
    assert "s3cret" not in line


async def test_a_master_behind_sentinels_is_all_well_and_other_ways_to_it_are_corrected():
    async with watched() as servers:
        assert exit_status(await check(servers.url)) == 0
        port = servers.sentinel.port
        line = worst(await check(f"redis+sentinel://127.0.0.1:{port}/other"))
        assert line.startswith("FAULT sentinel: the Sentinels know no master called 'other'.")
        line = worst(await check(f"redis://127.0.0.1:{port}"))
        assert line.startswith("FAULT redis: it is a Sentinel, which takes no jobs.")
        assert "redis+sentinel://" in line
        line = worst(await check(f"redis://127.0.0.1:{servers.replica.port}"))
        assert line.startswith("FAULT redis: it is a replica, which takes no jobs. Name its master")
        await servers.sentinel.kill()
        line = worst(await check(servers.url))
        assert line.startswith("FAULT redis: no use can be made of it at redis+sentinel://")


async def test_a_wrong_password_for_the_sentinels_is_told():
    async with watched() as servers:
        await ask_for_password(servers.sentinel, "theirs")
        line = worst(await check(servers.url))
        assert line.startswith("FAULT redis: it takes no such user or password at redis+sentinel:")
        assert "sentinel_password" in line


async def test_a_cluster_is_all_well_and_other_ways_to_it_are_corrected():
    async with cluster() as nodes:
        assert exit_status(await check(nodes.url)) == 0
        line = worst(await check(f"redis://127.0.0.1:{nodes.owner.port}"))
        assert line.startswith("warn  redis: it is one node of a Cluster, and the others are not")
        other = next(each for each in nodes.nodes if each is not nodes.owner)
        line = worst(await check(f"redis://127.0.0.1:{other.port}"))
        assert line.startswith("FAULT cluster: the server at redis://127.0.0.1:")
        assert "redis+cluster://" in line
        slot = await ask(other, "CLUSTER", "KEYSLOT", PREFIX)
        other_id = await ask(other, "CLUSTER", "MYID")
        await ask(nodes.owner, "CLUSTER", "SETSLOT", slot, "MIGRATING", other_id)
        line = worst(await check(nodes.url))
        assert line.startswith("warn  cluster: the queue is on its way to another node")
        await ask(nodes.owner, "CLUSTER", "SETSLOT", slot, "STABLE")
        assert exit_status(await check(nodes.url)) == 0
        await nodes.kill(*(each for each in nodes.nodes if each is not other))
        await until(lambda: _is_down(other))
        assert worst(await check(nodes.url)).startswith("FAULT cluster: it is down: ")


async def _is_down(node: RedisServer) -> bool:
    return b"cluster_state:fail" in str(await ask(node, "CLUSTER", "INFO")).encode()


async def test_a_full_memory_is_a_fault(own_redis_server: RedisServer, own: Redis):
    await own.setrange("ballast", 20_000_000, "x")
    await own.config_set("maxmemory", 1_000_000)
    line = worst(await check(own_redis_server.url))
    assert line.startswith("FAULT redis: its memory is full, so new requests are refused")
    assert "Raise maxmemory" in line
    await own.config_set("maxmemory", 0)
    assert exit_status(await check(own_redis_server.url)) == 0


async def test_a_master_that_lacks_its_replicas_is_a_fault(
    own_redis_server: RedisServer, own: Redis
):
    await own.config_set("min-replicas-to-write", 1)
    line = worst(await check(own_redis_server.url))
    assert line == (
        "FAULT redis: it takes nothing without its replicas. "
        "Bring them back, or lower min-replicas-to-write."
    )


async def test_a_disk_that_cannot_be_written_is_a_fault():
    async with without_a_disk() as server:
        line = worst(await check(server.url))
    assert line == (
        "FAULT redis: it takes nothing, as it can't write to its disk. "
        "Its log says why: make room there, or give it the right to write."
    )


async def test_a_replica_is_told_even_to_a_user_who_may_not_ask_for_info(
    own_redis_server: RedisServer, own: Redis
):
    await own.execute_command("ACL", "SETUSER", "ovid", "on", ">pw", "~*", "+@all", "-info")
    await own.execute_command("REPLICAOF", "127.0.0.1", "1")
    line = worst(await check(own_redis_server.url.replace("unix://", "unix://ovid:pw@")))
    assert line.startswith("FAULT queue: nothing can be written at unix://ovid:***@")


async def test_engines_of_another_version_are_a_warning(redis: Redis, redis_url: str):
    queue = JobQueue(redis)
    for engine in ("same", "other", "old"):
        await claim(queue, engine, 0)
        await queue.announce(engine, "11111111")
    assert exit_status(await check(redis_url)) == 0
    await redis.hset(f"{PREFIX}:marks", "other", "11111111\n9.9.9")
    await redis.hset(f"{PREFIX}:marks", "old", "11111111")
    assert worst(await check(redis_url)) == (
        f"warn  versions: this program is Ovid {VERSION}, and not all engines are: old an "
        "older one, other 9.9.9. Bring bots and engines to one version, and start them again."
    )
