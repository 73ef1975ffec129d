"""How a program reaches Redis: timeouts, retries, and a URL fit for logs. Knows no keys."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import EqualJitterBackoff

SOCKET_TIMEOUT_S = 4.0
BLOCK_MAX_S = 2.0
"""A blocking read must end well before the socket gives up on it."""
CONNECT_TIMEOUT_S = 2.0
HEALTH_CHECK_INTERVAL_S = 15
MAX_CONNECTIONS = 4096
"""More than are ever needed: past its bound redis-py fails at once, as if Redis were away."""
NUM_RETRIES = 3
BAD_URL = (
    "the Redis URL cannot be read: it should look like redis://user:password@host:6379/0, "
    "with special characters of the password percent-encoded"
)
RETRY_BUDGET_S = 1.0
BACKOFF_BASE_S = 0.025
BACKOFF_CAP_S = 0.25

T = TypeVar("T")


def connect(url: str) -> Redis:
    """Make a client for `url`; it connects at its first command.

    A refused or broken connection is tried again, and the caller hears of the outage within two
    seconds; a server that says nothing costs `SOCKET_TIMEOUT_S`, once. Answers are bytes, since
    texts are cut at byte offsets.

    Args:
        url: Any redis-py URL: redis://, rediss:// or unix://, with user, password and database.
            Options in its query, such as `?socket_timeout=9`, win over what is set here.

    Raises:
        ValueError: When the URL has no such scheme or its options can't be read. It quotes nothing
            of the URL, which may hold a password.
    """
    try:
        return _client(url)
    except ValueError:
        raise ValueError(BAD_URL) from None


def _client(url: str) -> Redis:
    client = Redis.from_url(
        url,
        protocol=2,  # the shapes of answers differ between protocols
        decode_responses=False,
        retry=_ShortRetry(
            EqualJitterBackoff(cap=BACKOFF_CAP_S, base=BACKOFF_BASE_S), retries=NUM_RETRIES
        ),
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        health_check_interval=HEALTH_CHECK_INTERVAL_S,
        max_connections=MAX_CONNECTIONS,
    )
    pool = client.connection_pool
    pool.connection_class = type("Connection", (_HeedsCancellation, pool.connection_class), {})
    return client


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


def hide_password(url: str) -> str:
    """Give the URL with its password replaced, for logs and messages.

    >>> hide_password("rediss://ovid:s3cret@redis.example:6380/0")
    'rediss://ovid:***@redis.example:6380/0'
    >>> hide_password("unix:///run/redis.sock?db=1&password=s3cret")
    'unix:///run/redis.sock?db=1&password=***'
    """
    # Up to the last @, whatever stands there: a password that was not encoded stays hidden too.
    url = re.sub(r"^([^:]+://[^:@/]*:).*@", r"\1***@", url)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", url)
