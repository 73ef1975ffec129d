"""The queue that a worker serves in these tests."""

import pytest
from redis.asyncio import Redis

from tests.engine.serving import EndlessQueue
from wire.queue import JobQueue


@pytest.fixture
def queue(redis: Redis) -> JobQueue:
    return EndlessQueue(redis)
