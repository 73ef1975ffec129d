"""Holding a job: the claim, the lease, the fence, and what happens when an engine is lost."""

import pytest

from tests.wire.support import (
    MODEL,
    beat,
    claim,
    claim_ids,
    finish,
    kinds,
    lapse,
    make_done,
    make_job,
    now_ms,
    record_of,
    submit,
)
from wire import keys
from wire.jobs import ErrorCode, Failed
from wire.queue import Claimed, JobQueue, JobState, Progress


async def test_a_claim_hands_over_the_job_and_the_record_says_who_runs_it(queue):
    job = make_job("a")
    await queue.submit(job)
    [claimed] = await claim(queue, "e1")
    assert claimed == Claimed(job, attempt=1, waited_ms=claimed.waited_ms, suspect=False)
    assert 0 <= claimed.waited_ms < 60_000
    record = await record_of(queue, "a")
    assert (record.state, record.attempt) == (JobState.RUNNING, 1)
    assert (record.engine, record.model_name) == ("e1", MODEL)


async def test_an_engine_gets_no_more_than_it_has_room_for(queue):
    await submit(queue, "a", "b", "c")
    assert await claim_ids(queue, num_free=0) == []
    assert await claim_ids(queue, num_free=2) == ["a", "b"]
    assert await claim_ids(queue, num_free=2, held=["a", "b"]) == ["c"]


async def test_what_an_engine_never_heard_of_is_handed_over_again(queue):
    await submit(queue, "a", "b")
    first = await claim(queue, num_free=2)
    again = await claim(queue, num_free=2)
    assert [(each.job, each.attempt) for each in again] == [(each.job, 1) for each in first]
    assert await claim_ids(queue, num_free=1, held=["a"]) == ["b"]
    assert await claim_ids(queue, num_free=2, held=["a", "b"]) == []
    assert await claim_ids(queue, "e2") == []


async def test_handing_over_again_fills_the_free_slots_first(queue):
    await submit(queue, "a", "b", "c")
    assert await claim_ids(queue, num_free=1) == ["a"]
    assert await claim_ids(queue, num_free=2) == ["a", "b"]


async def test_handing_over_again_does_not_prolong_the_lease(queue, redis):
    await submit(queue, "a")
    await claim(queue)
    before = await redis.zscore("{ovid:0}:lease", "a") - 5000
    await redis.zadd("{ovid:0}:lease", {"a": before})
    assert await claim_ids(queue) == ["a"]
    assert await redis.zscore("{ovid:0}:lease", "a") == before


async def test_what_an_engine_wrote_to_and_then_forgot_counts_as_lost(queue):
    await submit(queue, "a")
    await claim(queue)
    assert await beat(queue, "a", "Once") == 1
    [claimed] = await claim(queue)
    assert (claimed.attempt, claimed.suspect) == (2, True)
    assert (await record_of(queue, "a")).text == ""


async def test_a_beat_keeps_the_lease(queue, redis):
    await submit(queue, "a")
    await claim(queue)
    await redis.zadd("{ovid:0}:lease", {"a": await now_ms(redis) + 100})
    assert await beat(queue, "a") == 1
    assert await redis.zscore("{ovid:0}:lease", "a") > await now_ms(redis) + 5000


async def test_a_silent_engine_loses_its_job_to_another(queue, redis):
    await submit(queue, "a")
    await claim(queue, "e1")
    await beat(queue, "a", "Once")
    await lapse(redis, "a")
    [claimed] = await claim(queue, "e2")
    assert (claimed.job.job_id, claimed.attempt, claimed.suspect) == ("a", 2, True)
    record = await record_of(queue, "a")
    assert (record.engine, record.text) == ("e2", "")
    assert await kinds(queue, "a") == ["started", "delta", "retried", "started"]


async def test_an_engine_that_wakes_too_late_can_change_nothing(queue, redis):
    await submit(queue, "a")
    await claim(queue, "e1")
    await lapse(redis, "a")
    await queue.tick()
    assert await beat(queue, "a", "late", engine="e1") == 0
    await claim(queue, "e2")
    assert await beat(queue, "a", "Once", engine="e2", attempt=2) == 1
    assert await beat(queue, "a", "Once late", engine="e1") == 0
    assert await finish(queue, "a", "Once late", engine="e1") == 0
    assert await queue.release("e1", "a", 1) is False
    record = await record_of(queue, "a")
    assert (record.text, record.state, record.attempt) == ("Once", JobState.RUNNING, 2)


@pytest.mark.parametrize(("engine", "attempt"), [("e2", 2), ("e1", 1), ("e1", 3)])
async def test_the_fence_asks_for_the_engine_and_the_attempt(queue, redis, engine, attempt):
    await submit(queue, "a")
    await claim(queue, "e1")
    await lapse(redis, "a")
    await claim(queue, "e1")
    assert await beat(queue, "a", "x", engine=engine, attempt=attempt) == 0
    assert await finish(queue, "a", "x", engine=engine, attempt=attempt) == 0
    assert await queue.release(engine, "a", attempt) is False
    assert await beat(queue, "a", "right", engine="e1", attempt=2) == 1


async def test_suspects_are_claimed_one_at_a_time_by_each_engine(queue, redis):
    await submit(queue, "a", "b", "c")
    await claim(queue, "e1")
    await lapse(redis, "a", "b", "c")
    await submit(queue, "new1", "new2", user_id="bob")
    first = await claim(queue, "e2", 4)
    assert [(each.job.job_id, each.suspect) for each in first] == [
        ("a", True),
        ("new1", False),
        ("new2", False),
    ]
    named = [each.job.job_id for each in first]
    assert await claim_ids(queue, "e2", 4, held=named) == []
    assert await claim_ids(queue, "e3", 4) == ["b"]
    await finish(queue, "a", engine="e2", attempt=2)
    assert await claim_ids(queue, "e2", 4, held=["new1", "new2"]) == ["c"]


async def test_a_suspect_handed_over_again_still_counts_as_one(queue, redis):
    await submit(queue, "a", "b")
    await claim(queue, "e1")
    await lapse(redis, "a", "b")
    assert await claim_ids(queue, "e2") == ["a"]
    assert await claim_ids(queue, "e2") == ["a"]


async def test_a_poison_job_is_given_up_after_three_attempts_and_the_rest_is_not(queue, redis):
    await submit(queue, "a", "poison", "b", "c")
    num_deaths = 0
    for number in range(12):
        claimed = await claim(queue, f"e{number}", 3)
        if any(each.job.job_id == "poison" for each in claimed):
            num_deaths += 1
            await lapse(redis, *(each.job.job_id for each in claimed))
            continue
        for each in claimed:
            last = Progress(each.job.job_id, each.attempt, 0, "text")
            assert await queue.finish(f"e{number}", last, make_done()) == 1
    assert num_deaths == 3
    outcome = (await record_of(queue, "poison")).outcome
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.ENGINE_LOST
    assert outcome.message.endswith(".")
    assert [(await record_of(queue, each)).text for each in "abc"] == ["text"] * 3
    assert await redis.lrange("{ovid:0}:dead", 0, -1) == [b"poison"]
    assert (await queue.tick()).num_dead == 1


async def test_the_number_of_attempts_is_a_setting(redis):
    queue = JobQueue(redis, max_attempts=1)
    await submit(queue, "a")
    await claim(queue)
    await lapse(redis, "a")
    await queue.tick()
    assert (await record_of(queue, "a")).state is JobState.ENDED


async def test_the_lease_is_a_setting(redis):
    await submit(JobQueue(redis, lease_ms=700_000), "a")
    await claim(JobQueue(redis, lease_ms=700_000))
    assert await redis.zscore("{ovid:0}:lease", "a") > await now_ms(redis) + 600_000


async def test_the_list_of_dead_jobs_is_bounded(queue, redis):
    await redis.rpush("{ovid:0}:dead", *(f"old{i}" for i in range(1000)))
    queue = JobQueue(redis, max_attempts=1)
    await submit(queue, "a")
    await claim(queue)
    await lapse(redis, "a")
    assert (await queue.tick()).num_dead == 1000
    assert await redis.lindex("{ovid:0}:dead", 0) == b"a"


async def test_the_list_of_dead_jobs_is_forgotten_a_week_after_the_last(redis):
    queue = JobQueue(redis, max_attempts=1)
    for job_id in ("a", "b"):
        await submit(queue, job_id)
        await claim(queue)
        await lapse(redis, job_id)
        await queue.tick()
        assert 0 < keys.DEAD_TTL_S - await redis.ttl("{ovid:0}:dead") + 1 < 60
        await redis.expire("{ovid:0}:dead", 60)


async def test_a_released_job_is_next_in_its_line_and_its_attempt_does_not_count(queue):
    await submit(queue, "a", "b", "c")
    await claim(queue, "e1", 1)
    await beat(queue, "a", "Once")
    assert await queue.release("e1", "a", 1) is True
    record = await record_of(queue, "a")
    assert (record.state, record.attempt, record.engine) == (JobState.WAITING, 0, None)
    assert await queue.release("e1", "a", 1) is True
    [claimed] = await claim(queue, "e2", 1)
    assert (claimed.job.job_id, claimed.attempt, claimed.suspect) == ("a", 1, False)
    assert (await record_of(queue, "a")).text == ""
    assert await queue.release("e1", "a", 1) is False
    assert await claim_ids(queue, "e3") == ["b", "c"]


async def test_a_released_suspect_is_a_suspect_still(queue, redis):
    await submit(queue, "a", "b")
    await claim(queue, "e1")
    await lapse(redis, "a", "b")
    assert await claim_ids(queue, "e2", 1) == ["a"]
    assert await queue.release("e2", "a", 2)
    assert [(each.job.job_id, each.attempt, each.suspect) for each in await claim(queue, "e3")] == [
        ("a", 2, True)
    ]


async def test_what_an_engine_wrote_to_is_lost_at_once_when_it_leaves(queue):
    await submit(queue, "a")
    await claim(queue, "e1")
    await beat(queue, "a")
    await queue.leave("e1")
    await queue.leave("e1")
    assert (await queue.tick()).num_engines == 0
    [claimed] = await claim(queue, "e2")
    assert (claimed.attempt, claimed.suspect) == (2, True)


async def test_what_never_reached_an_engine_that_leaves_was_not_its_attempt(queue):
    await submit(queue, "a")
    await claim(queue, "e1")
    await queue.leave("e1")
    [claimed] = await claim(queue, "e2")
    assert (claimed.attempt, claimed.suspect) == (1, False)


async def test_the_stats_tell_the_lane_in_numbers(queue):
    await submit(queue, "a", "b", "c")
    await queue.claim("e1", ["124M", "notes"], 1, [])
    await queue.claim("e2", ["demo"], 0, [])
    stats = await queue.tick()
    assert (stats.num_waiting, stats.num_running, stats.num_dead) == (2, 1, 0)
    assert stats.num_engines == 2
    assert stats.engines == {"e1": "124M", "e2": "demo"}
    assert stats.models == ("124M", "demo", "notes")


async def test_a_job_this_version_cannot_read_is_failed_and_not_claimed(queue, redis):
    await submit(queue, "a", "b")
    body = await redis.hget("{ovid:0}:job:a", "body")
    await redis.hset("{ovid:0}:job:a", "body", body.replace(b'"version":1', b'"version":2'))
    assert await claim_ids(queue) == ["b"]
    state, outcome = await redis.hmget("{ovid:0}:job:a", "state", "outcome")
    assert state == b"ended"
    assert b'"code":"invalid_request"' in outcome
    assert b"version" in outcome
