"""`tick` makes every index again from the open set and the job hashes."""

import itertools

import pytest

from tests.wire.support import (
    BOT,
    ROOMY,
    beat,
    claim,
    claim_ids,
    finish,
    lapse,
    leftovers,
    make_job,
    record_of,
    submit,
)
from wire.queue import Admission, JobState, Progress

INDEXES = [
    *("waiting:ann", "waiting:bob", "ring", "retry", "lease", "count"),
    *("held:e1", "held:e2", "own:bot", "clock", "bell", "engines", "models"),
]


async def busy_lane(queue, redis):
    """Two users' lines, a suspect that waits, one that runs, and a running job with text."""
    await submit(queue, "s1", "s2", user_id="ann")
    await claim(queue, "e1")
    await lapse(redis, "s1", "s2")
    await submit(queue, "r", user_id="bob")
    assert await claim_ids(queue, "e2", 2) == ["s1", "r"]
    await beat(queue, "r", "Once", engine="e2")
    await submit(queue, "a1", "a2", user_id="ann")
    await submit(queue, "b1", "b2", user_id="bob")


async def picture(queue, redis):
    """All that the indexes say, apart from times."""
    return {
        "lines": [await redis.lrange(f"{{ovid:0}}:{name}", 0, -1) for name in INDEXES[:4]],
        "running": set(await redis.zrange("{ovid:0}:lease", 0, -1)),
        "count": await redis.hgetall("{ovid:0}:count"),
        "held": await redis.smembers("{ovid:0}:held:e2"),
        "own": await queue.own(BOT),
        "bell": await redis.exists("{ovid:0}:bell"),
    }


async def test_tick_changes_nothing_in_a_sound_lane(queue, redis):
    await busy_lane(queue, redis)
    # A lease that tick renewed would never lapse.
    leases = await redis.zrange("{ovid:0}:lease", 0, -1, withscores=True)
    before = await picture(queue, redis)
    first = await queue.tick()
    assert await picture(queue, redis) == before
    assert await redis.zrange("{ovid:0}:lease", 0, -1, withscores=True) == leases
    assert await queue.tick() == first


@pytest.mark.parametrize("lost", [*([name] for name in INDEXES), INDEXES], ids=" ".join)
async def test_tick_makes_lost_indexes_again(queue, redis, lost):
    await busy_lane(queue, redis)
    before = await picture(queue, redis)
    await redis.delete(*(f"{{ovid:0}}:{name}" for name in lost))
    stats = await queue.tick()
    assert (stats.num_waiting, stats.num_running) == (5, 2)
    assert await picture(queue, redis) == before
    await everything_ends(queue)
    assert await leftovers(redis) == []


async def everything_ends(queue):
    """Serve the lane to its end with two engines and see every job done in full."""
    await finish(queue, "r", " upon", engine="e2", offset=4)
    await finish(queue, "s1", "Once upon", engine="e2", attempt=2)
    for engine in ("e1", "e2", "e1"):
        for each in await claim(queue, engine):
            last = Progress(each.job.job_id, each.attempt, 0, "Once upon")
            await queue.finish(engine, last, (await record_of(queue, "r")).outcome)
    for job_id in ("s1", "s2", "r", "a1", "a2", "b1", "b2"):
        record = await record_of(queue, job_id)
        assert (record.state, record.text) == (JobState.ENDED, "Once upon"), job_id
        await queue.shown(BOT, job_id)


async def test_what_has_ended_and_is_not_shown_is_found_again_by_who_follows(queue, redis):
    await submit(queue, "shown", "owed", "owed.2", "runs")
    await claim(queue)
    for job_id in ("shown", "owed", "owed.2"):
        await finish(queue, job_id)
    await queue.shown(BOT, "shown")
    await redis.delete(f"{{ovid:0}}:own:{BOT}")
    await queue.tick()
    assert await queue.own(BOT) == {"runs"}
    assert await queue.follow("another bot") == "0-0"
    assert await queue.follow(BOT) == (await queue.hints(BOT, "0-0", block_ms=0))[-1].entry_id
    assert await queue.own(BOT) == {"owed", "owed.2", "runs"}
    for job_id in ("owed", "owed.2"):
        await queue.shown(BOT, job_id)
    await redis.delete(f"{{ovid:0}}:own:{BOT}")
    await queue.follow(BOT)
    assert await queue.own(BOT) == set()


async def test_a_job_that_was_closed_unseen_is_nobodys_again_though_it_still_runs(queue, redis):
    await submit(queue, "closed", "shows")
    await claim(queue)
    await queue.cancel("closed")
    await queue.shown(BOT, "closed")
    await redis.delete(f"{{ovid:0}}:own:{BOT}")
    await queue.tick()
    assert await queue.own(BOT) == {"shows"}


async def test_what_a_bot_still_shows_is_its_own_again_and_nothing_else(queue, redis):
    await submit(queue, "shown", "owed", "gone", "runs")
    await claim(queue)
    for job_id in ("shown", "owed", "gone"):
        await finish(queue, job_id)
    await queue.shown(BOT, "shown")
    await redis.delete(f"{{ovid:0}}:own:{BOT}", f"{{ovid:0}}:events:{BOT}", "{ovid:0}:job:gone")
    await queue.owe(BOT, ["shown", "owed", "gone", "runs"])
    assert await queue.own(BOT) == {"owed", "gone", "runs"}
    assert await redis.ttl(f"{{ovid:0}}:own:{BOT}") > 0


async def test_a_last_word_that_nobody_remembers_is_owed_no_more(queue, redis):
    await submit(queue, "a")
    await claim(queue)
    await finish(queue, "a")
    await redis.delete(f"{{ovid:0}}:own:{BOT}", "{ovid:0}:job:a")
    await redis.xadd(f"{{ovid:0}}:events:{BOT}", {"by": "hand"})
    await queue.follow(BOT)
    await queue.shown(BOT, "a")
    assert await redis.keys("*:job:*") == []
    assert await queue.own(BOT) == set()


async def test_a_running_engine_goes_on_when_its_lease_and_holdings_are_lost(queue, redis):
    await submit(queue, "a")
    await claim(queue)
    await redis.delete("{ovid:0}:lease", "{ovid:0}:held:e1")
    assert await beat(queue, "a", "Once") == 1
    assert await redis.zcard("{ovid:0}:lease") == 1
    await queue.tick()
    assert await claim_ids(queue, held=["a"]) == []
    assert await finish(queue, "a", " upon", offset=4) == 1
    assert (await record_of(queue, "a")).text == "Once upon"


async def test_wrong_counts_are_corrected(queue, redis):
    await submit(queue, "a")
    await redis.hset("{ovid:0}:count", mapping={"ann": "7", "ghost": "2"})
    assert (await queue.submit(make_job("b"))).admission is Admission.BUSY_USER
    await queue.tick()
    assert await redis.hgetall("{ovid:0}:count") == {b"ann": b"1"}
    assert (await queue.submit(make_job("b"))).admission is Admission.OK


async def test_entries_of_ended_jobs_are_cleared_away(queue, redis):
    await submit(queue, "a")
    await claim(queue)
    await finish(queue, "a")
    await queue.shown(BOT, "a")
    await redis.rpush("{ovid:0}:waiting:ann", "a")
    await redis.rpush("{ovid:0}:ring", "ann", "nobody")
    await redis.rpush("{ovid:0}:retry", "a")
    await redis.zadd("{ovid:0}:lease", {"a": 2**50})
    await redis.sadd("{ovid:0}:held:e1", "a")
    await queue.tick()
    assert await leftovers(redis) == []


async def test_an_ending_cut_short_is_completed(queue, redis):
    await submit(queue, "a")
    await claim(queue)
    outcome = '{"kind":"failed","code":"internal","message":"The engine stumbled."}'
    await redis.hset("{ovid:0}:job:a", mapping={"state": "ended", "outcome": outcome})
    await queue.tick()
    record = await record_of(queue, "a")
    assert record.outcome is not None
    await queue.shown(BOT, "a")
    assert await leftovers(redis) == []
    assert 0 < await redis.ttl("{ovid:0}:job:a") <= 3600


async def test_an_ending_of_which_nothing_says_how_is_no_record(queue, redis):
    await submit(queue, "a")
    await redis.hset("{ovid:0}:job:a", "state", "ended")
    await redis.zrem("{ovid:0}:open", "a")
    with pytest.raises(ValueError, match="nothing says how"):
        await queue.snapshot("a")


async def test_a_stale_entry_in_a_line_is_stepped_over(queue, redis):
    await submit(queue, "a")
    await redis.lpush("{ovid:0}:waiting:ann", "gone", "a")
    await redis.lpush("{ovid:0}:retry", "ghost")
    assert await claim_ids(queue, num_free=5) == ["a"]
    assert await claim_ids(queue, "e2", 5) == []


@pytest.mark.parametrize("phase", ["waiting", "suspect", "running"])
async def test_a_job_whose_hash_is_gone_hangs_nothing(queue, redis, phase):
    await queue.submit(make_job("gone"), ROOMY)
    if phase != "waiting":
        await claim(queue, "e1")
    if phase == "suspect":
        await lapse(redis, "gone")
        await queue.tick()
    await submit(queue, "a", "b")
    await redis.delete("{ovid:0}:job:gone")
    assert await queue.snapshot("gone") is None
    assert await queue.cancel("gone") is False
    assert await queue.place("gone") is None
    assert await beat(queue, "gone", "x") == 0
    assert await finish(queue, "gone", "x") == 0
    assert await queue.release("e1", "gone", 1) is False
    stats = await queue.tick()
    assert (stats.num_waiting, stats.num_running) == (2, 0)
    assert await redis.hgetall("{ovid:0}:count") == {b"ann": b"2"}
    assert "gone" in await queue.own(BOT)
    assert await claim_ids(queue, "e2") == ["a", "b"]
    for job_id in ("a", "b"):
        assert await finish(queue, job_id, engine="e2") == 1
    for job_id in ("a", "b", "gone"):
        await queue.shown(BOT, job_id)
    await queue.tick()
    await redis.delete("{ovid:0}:text:gone")
    assert await leftovers(redis) == []


async def test_a_claim_alone_survives_jobs_whose_hashes_are_gone(queue, redis):
    await submit(queue, "s", "x", "a", "b")
    await claim(queue, "e1", 2)
    await lapse(redis, "s", "x")
    await redis.delete(*(f"{{ovid:0}}:job:{each}" for each in ("s", "x", "a")))
    assert await claim_ids(queue, "e1") == ["b"]


async def test_more_jobs_than_one_audit_sees_are_no_trouble(queue, redis):
    ids = [f"j{i}" for i in range(40)]
    for job_id, user in zip(ids, itertools.cycle(("ann", "bob")), strict=False):
        await submit(queue, job_id, user_id=user)
    queue._settings = queue._settings.replace('"audit_max_jobs": 2000', '"audit_max_jobs": 10')
    await redis.delete("{ovid:0}:ring", "{ovid:0}:waiting:ann", "{ovid:0}:waiting:bob")
    done = set()
    await queue.tick()
    assert await redis.hgetall("{ovid:0}:count") == {b"ann": b"20", b"bob": b"20"}
    for _ in range(40):
        await queue.tick()
        for each in await claim(queue, num_free=100):
            done.add(each.job.job_id)
            await finish(queue, each.job.job_id)
    assert done == set(ids)
