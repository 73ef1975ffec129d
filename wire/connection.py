"""How a program reaches Redis: timeouts, retries, and after a failover the new master.

Knows of the queue's keys only in which slot of a Cluster they are.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import EqualJitterBackoff, NoBackoff
from redis.exceptions import (
    AskError,
    ClusterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from wire.keys import Lane
from wire.masters import FindMaster, by_nodes, by_sentinels
from wire.redis_url import Address, Kind, RedisUrl, hide_password, read_url

__all__ = ["BLOCK_MAX_S", "SOCKET_TIMEOUT_S", "connect", "hide_password"]

SOCKET_TIMEOUT_S = 4.0
BLOCK_MAX_S = 2.0
"""A blocking read must end well before the socket gives up on it."""
CONNECT_TIMEOUT_S = 2.0
LOOKUP_TIMEOUT_S = 1.0
"""How long a Sentinel or node may take to say where the master is before the next one is asked."""
HEALTH_CHECK_INTERVAL_S = 15
MAX_CONNECTIONS = 4096
"""More than are ever needed: past its bound redis-py fails at once, as if Redis were away."""
NUM_RETRIES = 3
RETRY_BUDGET_S = 1.0
BACKOFF_BASE_S = 0.025
BACKOFF_CAP_S = 0.25

NOT_THE_MASTER = (ReadOnlyError, AskError, TryAgainError, ClusterDownError)
"""Answers of a server that does not hold the queue, or not now. MovedError is an AskError."""
IN_A_SCRIPT = re.compile(
    r"Error running script .*: -(?P<code>OOM|READONLY|NOREPLICAS|MISCONF) (?P<words>.*)", re.DOTALL
)
"""How Redis before 7 wraps into words of its own what a script meets."""
KINDS = {"OOM": OutOfMemoryError, "READONLY": ReadOnlyError}
"""By their codes; redis-py has no classes for the others."""

T = TypeVar("T")


def connect(url: str, *, lane: int = 0) -> Redis:
    """Make a client for `url`; it connects at its first command.

    A refused or broken connection is tried again, and the caller hears of the outage within two
    seconds; a server that says nothing costs `SOCKET_TIMEOUT_S`, once. So does one that is not the
    master any more: it is left, and who is the master asked anew. Answers are bytes, since texts
    are cut at byte offsets.

    Args:
        url: One server: redis://, rediss:// (TLS) or unix://, as redis-py reads them, with user,
            password and database. The master that Sentinels name:
            redis+sentinel://user:password@host:26379,host:26379/name?db=0, user and password being
            the master's; the Sentinels' own are sentinel_username and sentinel_password in its
            query. A Cluster: redis+cluster://user:password@host:6379,host:6379, of which any nodes
            are named. TLS: rediss+sentinel, rediss+cluster.
            Options in its query, such as `?socket_timeout=9`, win over what is set here.
        lane: which on a Cluster is to be found.

    Raises:
        ValueError: When the URL has no such scheme or its options can't be used. It quotes nothing
            of the URL that may be a password.
    """
    where = read_url(url)
    try:
        client = _client(where.options, _FollowsTheMaster)
        if where.kind is not Kind.ALONE:
            kwargs = client.connection_pool.connection_kwargs
            kwargs["find_master"] = _find_master(where, lane)
        # What redis-py cannot use it would not say before the first command.
        client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    except (TypeError, ValueError, RedisError):
        msg = "the Redis URL has an option in its query that cannot be used"
        raise ValueError(msg) from None
    return client


def _client(options: Mapping[str, Any], *extras: type) -> Redis:
    settings = {
        "connection_class": Connection,
        "protocol": 2,  # the shapes of answers differ between protocols
        "decode_responses": False,
        "retry": _ShortRetry(
            EqualJitterBackoff(cap=BACKOFF_CAP_S, base=BACKOFF_BASE_S),
            NUM_RETRIES,
            (RedisConnectionError, RedisTimeoutError, *NOT_THE_MASTER),
        ),
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "health_check_interval": HEALTH_CHECK_INTERVAL_S,
        "max_connections": MAX_CONNECTIONS,
        # For each connection redis-py would look its version up on disk, to tell it to Redis.
        "driver_info": None,
        **options,
    }
    bases = (*extras, _HeedsCancellation, settings["connection_class"])
    settings["connection_class"] = type("Connection", bases, {})
    return Redis.from_pool(ConnectionPool(**settings))


def _find_master(where: RedisUrl, lane: int) -> FindMaster:
    settings = {
        "socket_timeout": LOOKUP_TIMEOUT_S,
        "socket_connect_timeout": LOOKUP_TIMEOUT_S,
        # Whoever connects tries again, and then asks the other hosts as well.
        "retry": Retry(NoBackoff(), 0),
        **where.host_options,
    }

    def client_of(host: Address) -> Redis:
        return _client({**settings, "host": host[0], "port": host[1]})

    if where.kind is Kind.SENTINEL:
        return by_sentinels(where.hosts, client_of, where.service)
    return by_nodes(where.hosts, client_of, Lane(lane).prefix)


class _FollowsTheMaster(AbstractConnection):
    """Asks, before it connects, which server is the master, and leaves one that has no replicas.

    Sentinels make another the master before they tell the old one. With `min-replicas-to-write` it
    takes nothing any more by then, and so loses nothing. What an old Redis wraps is told as a new
    one says it: a replica must be left there too.
    """

    def __init__(self, *, find_master: FindMaster | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._find_master = find_master

    async def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        if self._find_master is not None and not self.is_connected:
            self.host, self.port = await self._find_master()
        await super().connect_check_health(*args, **kwargs)

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().read_response(*args, **kwargs)
        except ResponseError as error:
            told = _unwrapped(error)
            if str(told).startswith("NOREPLICAS"):
                await self.disconnect(nowait=True)
            raise told from None


def _unwrapped(error: ResponseError) -> ResponseError:
    if (found := IN_A_SCRIPT.fullmatch(str(error))) is None:
        return error
    code, words = found["code"], found["words"]
    return KINDS[code](words) if code in KINDS else ResponseError(f"{code} {words}")


class _HeedsCancellation(AbstractConnection):
    """Does not lose a cancellation that comes while a command is sent.

    redis-py sends through `asyncio.wait_for`, which up to Python 3.11 swallows a cancellation that
    comes as it finishes: https://github.com/python/cpython/issues/86296. Can go with Python 3.11.
    """

    async def on_connect(self) -> None:
        # Over a unix socket redis-py 8.1 would check the health of a connection that it is only
        # making, and where that is refused make it again inside of itself, without end.
        await self.on_connect_check_health(check_health=False)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's own signature
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        await super().send_packed_command(command, check_health)
        if task and task.cancelling() > before:
            # The answer will not be read, so nothing else may be sent here.
            await self.disconnect(nowait=True)
            raise asyncio.CancelledError


class _ShortRetry(Retry):
    """Tries again until its time is up, too.

    Before it tries again it connects anew, so that a server which is not the master any more is
    left. While a slot of a Cluster is on its way from one node to another, its keys are on both,
    and a script would take half of the queue for the whole; so no ASK is followed, but waited out.

    redis-py retries connecting inside of retrying a command, so tries multiply; and it reports
    a server that is silent from the first byte as a connection error, after the whole timeout.
    """

    async def call_with_retry(
        self,
        do: Callable[[], Awaitable[T]],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,  # noqa: FBT001, FBT002 - redis-py's own signature
    ) -> T:
        give_up_at_s = time.monotonic() + RETRY_BUDGET_S

        def has_time(error: Exception) -> bool:
            in_time = time.monotonic() < give_up_at_s
            return in_time and (is_retryable is None or is_retryable(error))

        return await super().call_with_retry(do, fail, has_time, with_failure_count)
