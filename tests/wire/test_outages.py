"""Redis away, slow, full, emptied or forgetful; answers lost; many engines at once."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from tests.wire.lossy_proxy import LossyProxy
from tests.wire.support import (
    BOT,
    ROOMY,
    beat,
    claim,
    claim_ids,
    finish,
    kinds,
    make_done,
    make_job,
    now_ms,
    record_of,
    submit,
)
from wire import keys
from wire.connection import connect
from wire.jobs import Done
from wire.queue import Admission, JobQueue, JobState

CLOCK = "{ovid:0}:clock"
LEASE = "{ovid:0}:lease"


@pytest.mark.parametrize("gap", ["long", "unknown", "backwards"])
async def test_leases_start_anew_when_redis_was_away(queue, redis, gap):
    await submit(queue, "a")
    await claim(queue)
    await redis.zadd(LEASE, {"a": 1})
    now = await now_ms(redis)
    if gap == "unknown":
        await redis.delete(CLOCK)
    else:
        last = now - keys.FREEZE_GAP_MS - 1 if gap == "long" else now + 3_600_000
        await redis.set(CLOCK, last)
    await queue.tick()
    assert (await record_of(queue, "a")).state is JobState.RUNNING
    assert await redis.zscore(LEASE, "a") >= now + keys.LEASE_MS
    assert await beat(queue, "a", "Once") == 1


async def test_leases_lapse_when_only_the_engine_was_silent(queue, redis):
    await submit(queue, "a")
    await claim(queue)
    await redis.zadd(LEASE, {"a": 1})
    await redis.set(CLOCK, await now_ms(redis) - keys.FREEZE_GAP_MS // 2)
    await queue.tick()
    assert (await record_of(queue, "a")).state is JobState.WAITING


@pytest.mark.parametrize("call", ["submit", "beat", "cancel", "place"])
async def test_a_program_that_calls_anything_shows_that_redis_is_there(queue, redis, call):
    await submit(queue, "a")
    await claim(queue)
    await redis.delete(CLOCK)
    if call == "submit":
        await submit(queue, "b")
    elif call == "beat":
        await beat(queue, "a")
    elif call == "cancel":
        await queue.cancel("a")
    else:
        await queue.place("a")
    # Asking for a place is a mere question: it proves nothing and writes nothing.
    assert await redis.exists(CLOCK) == (call != "place")


async def test_scripts_flushed_at_any_time_are_loaded_again(queue, redis):
    async def flushed(work):
        await redis.script_flush()
        return await work

    await flushed(queue.submit(make_job("a")))
    assert await flushed(queue.place("a")) == 1
    assert await flushed(claim_ids(queue)) == ["a"]
    assert await flushed(beat(queue, "a", "Once")) == 1
    assert await flushed(queue.release("e1", "a", 1)) is True
    await flushed(queue.note_messages("a", [1]))
    assert await flushed(claim_ids(queue)) == ["a"]
    assert await flushed(queue.cancel("a")) is True
    assert await flushed(finish(queue, "a", "Once")) == 1
    assert (await flushed(queue.tick())).num_engines == 1
    await flushed(queue.leave("e1"))
    assert (await record_of(queue, "a")).message_ids == (1,)


async def test_each_job_goes_to_one_engine_only(redis):
    queues = [JobQueue(redis) for _ in range(8)]
    ids = [f"j{i}" for i in range(40)]
    await submit(queues[0], *ids)
    claims = (claim_ids(queue, f"e{i}", 7) for i, queue in enumerate(queues))
    claimed = [each for batch in await asyncio.gather(*claims) for each in batch]
    assert sorted(claimed) == sorted(ids)


async def test_one_job_submitted_many_times_at_once_is_admitted_once(redis):
    queues = [JobQueue(redis) for _ in range(6)]
    answers = await asyncio.gather(*(queue.submit(make_job("a")) for queue in queues))
    admissions = [answer.admission for answer in answers]
    assert sorted(admissions) == sorted([Admission.OK] + [Admission.DUPLICATE] * 5)


async def test_lanes_do_not_touch_each_other(redis):
    first, second = JobQueue(redis), JobQueue(redis, lane=1)
    await submit(first, "a")
    assert await second.snapshot("a") is None
    assert await claim_ids(second) == []
    assert await claim_ids(first) == ["a"]


@asynccontextmanager
async def lossy_queue(server_url, options=""):
    """A queue whose next answer is lost when told so, on a connection that is warm."""
    async with LossyProxy(server_url).serve() as proxy, connect(proxy.url + options) as client:
        await client.ping()
        yield JobQueue(client), proxy


@pytest.fixture
def time_to_retry(monkeypatch):
    """Calls are tried again however long a loaded machine takes."""
    monkeypatch.setattr("wire.connection.RETRY_BUDGET_S", 60.0)


@pytest.mark.usefixtures("time_to_retry")
async def test_no_lost_answer_changes_what_happens(redis, redis_url):
    async with lossy_queue(redis_url) as (queue, proxy):
        proxy.lose(1)
        submitted = await queue.submit(make_job("a"))
        assert (submitted.admission, submitted.num_waiting) == (Admission.OK, 0)
        proxy.lose(1)
        assert (await queue.submit(make_job("a"))).admission is Admission.DUPLICATE
        proxy.lose(1)
        [claimed] = await claim(queue)
        assert claimed.attempt == 1
        proxy.lose(1)
        assert await beat(queue, "a", "Once") == 1
        proxy.lose(1)
        assert await queue.release("e1", "a", 1) is True
        [claimed] = await claim(queue)
        assert claimed.attempt == 1
        await beat(queue, "a", "Once")
        proxy.lose(1)
        await queue.note_messages("a", [5])
        proxy.lose(1)
        assert await queue.cancel("a") is True
        proxy.lose(1)
        assert await finish(queue, "a", "Once upon") == 1
        proxy.lose(1)
        record = await record_of(queue, "a")
        proxy.lose(1)
        assert (await queue.tick()).num_running == 0
        proxy.lose(1)
        await queue.shown(BOT, "a")
        proxy.lose(1)
        assert await queue.own(BOT) == frozenset()
        assert proxy.num_lost == 12
    assert (record.text, record.outcome, record.message_ids) == ("Once upon", make_done(), (5,))
    assert await kinds(queue=JobQueue(redis), job_id="a") == [
        *("started", "delta", "retried"),
        *("started", "delta", "ended"),
    ]


@pytest.mark.usefixtures("time_to_retry")
async def test_a_busy_answer_that_was_lost_is_given_again(redis_url):
    async with lossy_queue(redis_url) as (queue, proxy):
        await submit(queue, "a", "b")
        proxy.lose(1)
        assert (await queue.submit(make_job("c"))).admission is Admission.BUSY_USER


async def test_a_submission_answered_by_silence_is_not_taken_for_a_duplicate(redis_url):
    async with lossy_queue(redis_url, "?socket_timeout=2") as (queue, proxy):
        proxy.swallow = True
        proxy.lose(1)
        assert (await queue.submit(make_job("a"))).admission is Admission.OK
        assert proxy.num_lost == 1


async def test_work_goes_on_after_a_crash_with_the_append_only_file(own_redis_server):
    async with connect(own_redis_server.url) as client:
        queue = JobQueue(client)
        await submit(queue, "a", "b")
        await claim(queue, num_free=1)
        await beat(queue, "a", "Once")
        await client.config_set("appendfsync", "always")
        await own_redis_server.kill()
        with pytest.raises(RedisConnectionError):
            await queue.tick()
        await own_redis_server.restart()
        assert await beat(queue, "a", " upon", offset=4) == 1
        assert await finish(queue, "a", " a time", offset=9) == 1
        assert (await record_of(queue, "a")).text == "Once upon a time"
        assert await claim_ids(queue) == ["b"]


async def test_a_redis_that_comes_back_empty_takes_new_jobs(queue, redis):
    await submit(queue, "a")
    await claim(queue)
    await redis.flushall()
    assert await queue.snapshot("a") is None
    assert await beat(queue, "a", "Once") == 0
    assert await finish(queue, "a", "Once") == 0
    assert await claim_ids(queue) == []
    assert (await queue.submit(make_job("b"))).admission is Admission.OK
    assert await claim_ids(queue) == ["b"]


async def test_full_memory_refuses_new_jobs_and_lets_the_others_end(own_redis_server):
    async with connect(own_redis_server.url) as client:
        queue = JobQueue(client)
        await submit(queue, "run", "stop", "back", "wait")
        await claim(queue, num_free=3)
        await client.config_set("maxmemory", 1)
        with pytest.raises(ResponseError, match="maxmemory"):
            await queue.submit(make_job("new"), ROOMY)
        assert await queue.snapshot("new") is None
        assert await beat(queue, "run", "Once") == 1
        assert await finish(queue, "run", " upon", offset=4) == 1
        assert await queue.cancel("stop") is True
        assert await finish(queue, "stop") == 1
        assert await queue.release("e1", "back", 1) is True
        await queue.note_messages("run", [1])
        assert (await queue.tick()).num_waiting == 2
        assert await claim_ids(queue) == ["back", "wait"]
        await queue.leave("e1")
        await client.config_set("maxmemory", 0)
        assert (await queue.submit(make_job("new"), ROOMY)).admission is Admission.OK
        record = await record_of(queue, "run")
        assert (record.text, record.message_ids) == ("Once upon", (1,))
        assert isinstance(record.outcome, Done)
