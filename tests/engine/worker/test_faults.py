"""A worker whose job, Redis or step loop is lost: nothing is lost or written twice."""

import asyncio
from collections.abc import Sequence

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from engine.async_engine import AsyncEngine
from engine.errors import EngineStoppedError
from sandbox.redis_server import RedisServer
from tests.engine.serving import (
    DEADLINE_S,
    EndlessQueue,
    Gate,
    ended,
    has_text,
    serving,
    submit,
)
from tests.engine.support import forever_a, replies
from tests.wire.support import (
    MODELS,
    lapse,
    make_done,
    record_of,
)
from wire.connection import connect
from wire.jobs import Done, ErrorCode, Failed, Outcome
from wire.queue import Claimed, JobQueue, JobState, Progress


async def take_over(queue: JobQueue, redis: Redis, job_id: str) -> Claimed:
    """Become the engine that holds a job: its lease lapses, and we are first to claim it."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            # A beat in between renews the lease; then it is tried again.
            await lapse(redis, job_id)
            for claimed in await queue.claim("other", MODELS, 1, []):
                return claimed


async def test_a_job_that_another_engine_took_is_dropped_without_a_word(
    queue: JobQueue, redis: Redis
):
    await submit(queue, "1", "endless")
    async with serving(queue, forever_a, num_slots=1):
        await has_text(queue, "1")
        claimed = await take_over(queue, redis, "1")
        # The only slot is free again, though nothing could end the first job but being dropped.
        await submit(queue, "2", "hi")
        assert (await ended(queue, "2")).engine == "e1"
        record = await record_of(queue, "1")
        assert (record.state, record.engine, record.text) == (JobState.RUNNING, "other", "")
        progress = Progress("1", claimed.attempt, 0, "by the other")
        assert await queue.finish("other", progress, make_done()) == 1
    record = await record_of(queue, "1")
    assert (record.text, record.outcome) == ("by the other", make_done())


async def test_connections_that_are_cut_lose_nothing(queue: JobQueue, redis: Redis):
    reply = "".join(chr(ord("a") + n % 26) for n in range(900))
    gate = Gate("hi", reply, before=600)
    await submit(queue, "1", "hi")
    async with serving(queue, gate):
        # On and on, a machine that connects more slowly than this would never be done.
        for num_cuts in range(1, 11):
            await redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            if num_cuts == 3:
                gate.opened.set()
            await asyncio.sleep(0.1)
        record = await ended(queue, "1")
    assert (record.text, record.attempt) == (reply, 1)


async def test_a_redis_that_is_killed_and_comes_back_loses_nothing(own_redis_server: RedisServer):
    reply = "before the fall, after the fall"
    gate = Gate("hi", reply, before=16)
    async with connect(own_redis_server.url) as redis:
        queue = EndlessQueue(redis)
        await submit(queue, "1", "hi")
        async with serving(queue, gate):
            await has_text(queue, "1", "before the fall,")
            await own_redis_server.kill()
            # The reply is written to its end while there is nobody to take it.
            gate.opened.set()
            with pytest.raises(RedisError):
                await queue.snapshot("1")
            await own_redis_server.restart()
            record = await ended(queue, "1")
        assert (record.text, record.attempt) == (reply, 1)
        assert isinstance(record.outcome, Done)


async def test_a_worker_serves_on_after_an_outage(own_redis_server: RedisServer):
    async with connect(own_redis_server.url) as redis:
        queue = EndlessQueue(redis)
        async with serving(queue, replies({"hi": "x"})):
            await submit(queue, "1", "hi")
            await ended(queue, "1")
            await own_redis_server.restart()
            await submit(queue, "2", "hi")
            assert (await ended(queue, "2")).text == "x"


async def test_a_worker_can_be_stopped_while_redis_is_away(own_redis_server: RedisServer):
    async with connect(own_redis_server.url) as redis:
        queue = EndlessQueue(redis)
        await submit(queue, "1", "endless")
        async with serving(queue, forever_a) as running:
            await has_text(queue, "1")
            await own_redis_server.kill()
            await running.stopped()


async def test_a_dead_step_loop_ends_the_worker_and_leaves_its_jobs_to_their_leases(
    queue: JobQueue,
):
    def next_token(held: Sequence[int]) -> int:
        if bytes(held).startswith(b"poison"):
            raise RuntimeError("the device is lost")
        return forever_a(held)

    await submit(queue, "1", "endless")
    async with serving(queue, next_token, grace_s=DEADLINE_S) as running:
        await has_text(queue, "1")
        await submit(queue, "2", "poison")
        with pytest.raises(EngineStoppedError, match="step loop has died"):
            async with asyncio.timeout(DEADLINE_S):
                await running.task
        assert not running.pool.is_alive
        for job_id in ("1", "2"):
            record = await record_of(queue, job_id)
            assert (record.state, record.attempt, record.engine) == (JobState.RUNNING, 1, "e1")
            assert record.outcome is None


async def test_a_job_that_breaks_the_worker_itself_is_answered_and_the_others_go_on(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
):
    generate = AsyncEngine.generate

    def broken(self: AsyncEngine, prompt: str, *args: object, **kwargs: object) -> object:
        if prompt == "breaks":
            raise RuntimeError("a mistake of ours")
        return generate(self, prompt, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(AsyncEngine, "generate", broken)
    await submit(queue, "1", "breaks")
    await submit(queue, "2", "hi")
    async with serving(queue, replies({"hi": "x"}), num_slots=1):
        failed, written = [await ended(queue, job_id) for job_id in ("1", "2")]
    assert isinstance(failed.outcome, Failed)
    assert failed.outcome.code is ErrorCode.INTERNAL
    assert "mistake" not in failed.outcome.message
    assert written.text == "x"


async def test_a_job_whose_end_cannot_be_written_frees_its_slot_and_is_tried_again(
    queue: JobQueue, redis: Redis, monkeypatch: pytest.MonkeyPatch
):
    finish = JobQueue.finish

    async def broken(self: JobQueue, engine: str, progress: Progress, outcome: Outcome) -> int:
        if (progress.job_id, progress.attempt) == ("1", 1):
            raise RuntimeError("a mistake of ours")
        return await finish(self, engine, progress, outcome)

    monkeypatch.setattr(JobQueue, "finish", broken)
    await submit(queue, "1", "hi")
    await submit(queue, "2", "hi")
    async with serving(queue, replies({"hi": "x"}), num_slots=1):
        assert (await ended(queue, "2")).text == "x"
        await lapse(redis, "1")
        again = await ended(queue, "1")
    assert (again.text, again.attempt) == ("x", 2)
    assert isinstance(again.outcome, Done)
