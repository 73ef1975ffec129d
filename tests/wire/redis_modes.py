"""Redis as larger installations run it: behind TLS, watched by Sentinels, as a Cluster.

Real servers of the test's own, quick to notice that one of them has died.
"""

import asyncio
import contextlib
import itertools
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from sandbox.redis_server import RedisServer
from tests.ports import held_port
from tests.wire.support import PREFIX
from wire.connection import connect

PATIENCE_S = 90.0
SERVICE = "main"
SYNC_AT_ONCE = "repl-diskless-sync-delay 0"
PATIENT_MS = 60_000
"""How long a silent server is given: a loaded machine is slow, which is no death."""
NOTICE_MS = 700
"""And when one is about to die."""
BUS_ABOVE = 10_000
"""Nodes talk at a port so far above their own; elsewhere only since Redis 7."""


async def until(holds: Callable[[], Awaitable[object]]) -> None:
    """Wait until something holds; a Redis that does not answer is asked again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(RedisError, OSError):
                if await holds():
                    return
            await asyncio.sleep(0.05)


async def ask(server: RedisServer, *command: Any) -> Any:
    """Send one command to one server, past whoever is the master."""
    async with Redis.from_url(server.url, decode_responses=True) as client:
        return await client.execute_command(*command)


def certify(ca_file: Path, name: str = "127.0.0.1") -> ssl.SSLContext:
    """Make a server's end of TLS with a certificate for a name, and write who signed it."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    authority.cert_pem.write_to_path(str(ca_file))
    return context


async def info(server: RedisServer) -> dict[str, Any]:
    async with Redis.from_url(server.url) as client:
        return dict(await client.info("replication"))


async def has_replica(master: RedisServer) -> bool:
    """Say whether a master has a replica that holds all it holds."""
    told = await info(master)
    return bool(told["connected_slaves"] and told["slave0"]["state"] == "online")


@dataclass(frozen=True, slots=True)
class Watched:
    """A master and its replica, and the Sentinel that watches them."""

    master: RedisServer
    replica: RedisServer
    sentinel: RedisServer

    @property
    def url(self) -> str:
        """The URL of whichever is the master; it names another Sentinel first, which is gone."""
        return f"redis+sentinel://127.0.0.1:1,127.0.0.1:{self.sentinel.port}/{SERVICE}"

    async def kill_master(self) -> None:
        """Kill the master, and have it noticed soon."""
        patience = ("SENTINEL", "SET", SERVICE, "down-after-milliseconds", NOTICE_MS)
        await ask(self.sentinel, *patience)
        await self.master.kill()


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    """Start a master with a replica and a Sentinel that may decide alone."""
    async with contextlib.AsyncExitStack() as stack:
        ports = [stack.enter_context(held_port()) for _ in range(3)]
        master = RedisServer(append_only=True, port=ports[0], settings=(SYNC_AT_ONCE,))
        await stack.enter_async_context(master)
        follow = (f"replicaof 127.0.0.1 {master.port}", SYNC_AT_ONCE)
        replica = await stack.enter_async_context(RedisServer(port=ports[1], settings=follow))
        await until(lambda: has_replica(master))
        watch = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 1",
            f"sentinel down-after-milliseconds {SERVICE} {PATIENT_MS}",
            f"sentinel failover-timeout {SERVICE} 3000",
        )
        sentinel = await stack.enter_async_context(
            RedisServer(port=ports[2], settings=watch, sentinel=True)
        )
        # It hears of replicas by INFO, by itself every ten seconds, and before Redis 7 at no other.
        with contextlib.suppress(ResponseError):
            await ask(sentinel, "SENTINEL", "DEBUG", "info-period", 200)
        await until(lambda: _knows_the_replica(sentinel))
        yield Watched(master, replica, sentinel)


async def ask_for_password(sentinel: RedisServer, password: str) -> None:
    """Let a Sentinel ask for a password of its own."""
    try:
        await ask(sentinel, "ACL", "SETUSER", "default", "resetpass", f">{password}")
    except ResponseError:
        pytest.skip("a Sentinel older than 6.2 takes its password from its file alone")


async def _knows_the_replica(sentinel: RedisServer) -> bool:
    async with Redis.from_url(sentinel.url) as client:
        state: Any = await client.sentinel_master(SERVICE)
    return int(state["num-slaves"]) > 0


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes that share the slots; the queue's is with one of them."""

    nodes: Sequence[RedisServer]
    owner: RedisServer
    """The master of the queue's slot, as it was at the start."""
    replica: RedisServer | None
    """Of the owner."""

    @property
    def url(self) -> str:
        """The URL of the Cluster, of which all nodes are named."""
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.nodes)
        return f"redis+cluster://{hosts}"

    async def kill(self, *doomed: RedisServer) -> None:
        """Kill some nodes, and have it noticed soon."""
        for node in self.nodes:
            await ask(node, "CONFIG", "SET", "cluster-node-timeout", NOTICE_MS)
        for node in doomed:
            await node.kill()


@contextmanager
def _held_node_port() -> Iterator[int]:
    while True:
        with contextlib.ExitStack() as held:
            port = held.enter_context(held_port())
            try:
                held.enter_context(held_port(port + BUS_ABOVE))
            except (OSError, OverflowError):
                continue
            yield port
            return


@asynccontextmanager
async def cluster(*, replica: bool = False) -> AsyncIterator[Cluster]:
    """Start three masters that share the slots, and maybe a replica of the queue's owner."""
    async with contextlib.AsyncExitStack() as stack:
        nodes = []
        for _ in range(4 if replica else 3):
            settings = (
                "cluster-enabled yes",
                f"cluster-node-timeout {PATIENT_MS}",
                SYNC_AT_ONCE,
            )
            port = stack.enter_context(_held_node_port())
            node = RedisServer(append_only=True, port=port, settings=settings)
            nodes.append(await stack.enter_async_context(node))
        for number, (first, last) in enumerate(((0, 5460), (5461, 10922), (10923, 16383))):
            await ask(nodes[number], "CLUSTER", "ADDSLOTS", *range(first, last + 1))
        for number, node in enumerate(nodes):
            await ask(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        # Of each other they would hear by and by.
        for node, other in itertools.permutations(nodes, 2):
            await ask(node, "CLUSTER", "MEET", "127.0.0.1", other.port)
        slot = int(await ask(nodes[0], "CLUSTER", "KEYSLOT", PREFIX))
        owner = nodes[min(slot // 5461, 2)]
        if replica:
            owner_id = await ask(owner, "CLUSTER", "MYID")
            await until(lambda: ask(nodes[3], "CLUSTER", "REPLICATE", owner_id))
            await until(lambda: has_replica(owner))
        for node in nodes:
            await until(lambda node=node: _is_whole(node))  # type: ignore[misc]
        yield Cluster(nodes, owner, nodes[3] if replica else None)


async def _is_whole(node: RedisServer) -> bool:
    async with Redis.from_url(node.url) as client:
        told: Any = await client.execute_command("CLUSTER INFO")
    return b"cluster_state:ok" in told if isinstance(told, bytes) else told["cluster_state"] == "ok"


@asynccontextmanager
async def without_a_disk() -> AsyncIterator[RedisServer]:
    """Start a server whose folder is gone, so that it saves nothing and takes nothing more."""
    with tempfile.TemporaryDirectory(prefix="ovid-", dir="/tmp") as folder:
        disk = Path(folder) / "disk"
        disk.mkdir()
        async with RedisServer(settings=[f"dir {disk}"]) as server, connect(server.url) as redis:
            await redis.config_set("save", "3600 1")
            disk.rmdir()
            await redis.bgsave()
            await until(lambda: _failed_to_save(redis))
            yield server


async def _failed_to_save(redis: Redis) -> bool:
    status: str = (await redis.info("persistence"))["rdb_last_bgsave_status"]
    return status == "err"
