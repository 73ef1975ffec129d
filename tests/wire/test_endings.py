"""The last word: every job gets exactly one, and then Redis forgets it in time."""

import time

import pytest

from tests.wire.support import (
    BOT,
    MODEL,
    beat,
    claim,
    claim_ids,
    expire,
    finish,
    kinds,
    lapse,
    leftovers,
    make_job,
    record_of,
    silence,
    submit,
)
from wire.jobs import Done, ErrorCode, Failed, FinishReason, SamplingParams
from wire.queue import JobQueue, JobState


async def test_a_waiting_job_is_cancelled_at_once(queue):
    params = SamplingParams(seed=2**63 - 1)
    await queue.submit(make_job("a", params=params))
    assert await queue.cancel("a") is True
    record = await record_of(queue, "a")
    assert (record.state, record.cancel_requested) == (JobState.ENDED, True)
    assert isinstance(record.outcome, Done)
    assert record.outcome.finish_reason is FinishReason.CANCELLED
    assert (record.outcome.seed, record.outcome.model_name) == (2**63 - 1, "")
    usage = record.outcome.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.first_token_ms) == (0, 0, None)
    assert 0 <= usage.queue_ms == usage.total_ms < 60_000
    assert await kinds(queue, "a") == ["ended"]
    assert await claim_ids(queue) == []


async def test_a_job_cancelled_without_a_seed_of_its_own_reports_zero(queue):
    await submit(queue, "a")
    await queue.cancel("a")
    outcome = (await record_of(queue, "a")).outcome
    assert isinstance(outcome, Done)
    assert outcome.seed == 0


async def test_a_running_job_learns_of_its_cancellation_at_the_next_beat(queue):
    await submit(queue, "a")
    await claim(queue)
    assert await queue.cancel("a") is True
    assert await queue.cancel("a") is True
    record = await record_of(queue, "a")
    assert (record.state, record.cancel_requested) == (JobState.RUNNING, True)
    assert await beat(queue, "a", "Once") == 2
    assert await beat(queue, "a", " upon", offset=4) == 2
    assert (await record_of(queue, "a")).text == "Once upon"


async def test_what_has_ended_or_was_never_there_cannot_be_cancelled(queue):
    assert await queue.cancel("nobody") is False
    await submit(queue, "a")
    await claim(queue)
    await finish(queue, "a", "text")
    before = await record_of(queue, "a")
    assert await queue.cancel("a") is False
    assert await record_of(queue, "a") == before


@pytest.mark.parametrize("way", ["lapse", "release", "leave", "deadline"])
async def test_a_cancelled_job_that_loses_its_engine_is_not_begun_again(queue, redis, way):
    await submit(queue, "a")
    await claim(queue, "e1")
    await beat(queue, "a", "Once")
    await queue.cancel("a")
    if way == "lapse":
        await lapse(redis, "a")
    elif way == "release":
        assert await queue.release("e1", "a", 1)
    elif way == "leave":
        await queue.leave("e1")
    else:
        await expire(redis, "a")
    await queue.tick()
    record = await record_of(queue, "a")
    assert isinstance(record.outcome, Done)
    assert record.outcome.finish_reason is FinishReason.CANCELLED
    assert record.outcome.model_name == MODEL
    assert record.text == "Once"


async def test_a_suspect_that_waits_is_cancelled_at_once(queue, redis):
    await submit(queue, "a")
    await claim(queue)
    await lapse(redis, "a")
    await queue.tick()
    assert await queue.cancel("a")
    assert (await record_of(queue, "a")).state is JobState.ENDED
    assert await claim_ids(queue) == []
    assert await redis.exists("{ovid:0}:retry") == 0


def failure(record):
    assert record.state is JobState.ENDED
    assert isinstance(record.outcome, Failed)
    said = record.outcome.message
    assert said[0].isupper()
    assert said.endswith(".")
    assert " " in said
    return record.outcome.code


async def test_a_job_that_no_engine_was_there_for_is_told_so_by_tick_alone(queue, redis):
    await submit(queue, "a")
    await queue.tick()
    assert (await record_of(queue, "a")).state is JobState.WAITING
    await expire(redis, "a")
    await queue.tick()
    assert failure(await record_of(queue, "a")) is ErrorCode.NO_ENGINE


async def test_a_job_that_waited_too_long_beside_a_living_engine_is_late(queue, redis):
    await submit(queue, "a")
    await claim(queue, num_free=0)
    await expire(redis, "a")
    await queue.tick()
    assert failure(await record_of(queue, "a")) is ErrorCode.DEADLINE


async def test_a_job_whose_only_engine_died_is_told_at_its_deadline(queue, redis):
    await submit(queue, "a")
    await claim(queue)
    await beat(queue, "a", "Once")
    await lapse(redis, "a")
    await silence(redis, "e1")
    await queue.tick()
    assert (await record_of(queue, "a")).state is JobState.WAITING
    await expire(redis, "a")
    await queue.tick()
    assert failure(await record_of(queue, "a")) is ErrorCode.DEADLINE


async def test_a_running_job_past_its_deadline_is_taken_from_its_engine(queue, redis):
    await submit(queue, "a")
    await claim(queue)
    await beat(queue, "a", "Once")
    await expire(redis, "a")
    await claim(queue, "e2", 0)
    record = await record_of(queue, "a")
    assert failure(record) is ErrorCode.DEADLINE
    assert record.text == "Once"
    assert await beat(queue, "a", "Once upon") == 0
    assert await finish(queue, "a", "Once upon") == 0
    assert await record_of(queue, "a") == record


async def test_a_job_submitted_after_its_deadline_ends_at_the_next_tick(queue):
    await queue.submit(make_job("a", deadline_unix_ms=int(time.time() * 1000) - 5_000_000))
    assert (await record_of(queue, "a")).state is JobState.WAITING
    await queue.tick()
    assert failure(await record_of(queue, "a")) is ErrorCode.NO_ENGINE


async def test_a_claim_never_begins_what_is_late(queue, redis):
    # More than one claim reaps, so that some are still in line when it takes from there.
    late = [f"late{i}" for i in range(250)]
    await submit(queue, *late, "good")
    await expire(redis, *late)
    assert await claim_ids(queue, num_free=1) == ["good"]


async def test_a_job_is_the_bots_own_until_its_last_word_is_shown(queue):
    await submit(queue, "a", "b")
    await queue.submit(make_job("other", "bob", bot_id="bot2"))
    await claim(queue)
    await finish(queue, "a")
    assert await queue.own(BOT) == {"a", "b"}
    await queue.shown(BOT, "a")
    await queue.shown(BOT, "a")
    assert await queue.own(BOT) == {"b"}
    assert await queue.own("bot2") == {"other"}
    await queue.tick()
    assert await queue.own(BOT) == {"b"}


async def test_the_messages_of_a_job_are_noted_and_the_newest_note_stands(queue):
    await submit(queue, "a")
    await queue.note_messages("a", [2**62 + 1])
    await queue.note_messages("a", [2**62 + 1, 7])
    await queue.note_messages("a", [2**62 + 1, 7])
    assert (await record_of(queue, "a")).message_ids == (2**62 + 1, 7)
    await claim(queue)
    await finish(queue, "a")
    assert (await record_of(queue, "a")).message_ids == (2**62 + 1, 7)


async def test_that_a_job_was_adopted_is_known_to_whoever_reads_it(queue):
    await submit(queue, "a")
    assert not (await record_of(queue, "a")).is_adopted
    await queue.adopt("a")
    await claim(queue)
    await finish(queue, "a")
    assert (await record_of(queue, "a")).is_adopted


async def test_a_note_about_a_forgotten_job_leaves_nothing(queue, redis):
    await queue.note_messages("gone", [1])
    await queue.adopt("gone")
    assert await queue.snapshot("gone") is None
    assert await leftovers(redis) == []


async def test_every_way_to_end_leaves_nothing_but_a_record_that_expires(redis):
    queue = JobQueue(redis, max_attempts=1, record_ttl_s=100)
    ids = ["finished", "cancelled", "stopped", "late", "lost", "unclaimed"]
    await submit(queue, *ids[:5])
    await queue.cancel("cancelled")
    await claim(queue)
    for job_id in ids[:5]:
        await beat(queue, job_id, "text")
    await queue.cancel("stopped")
    await finish(queue, "finished")
    await finish(queue, "stopped")
    await submit(queue, "unclaimed", user_id="bob")
    await expire(redis, "late", "unclaimed")
    await lapse(redis, "lost")
    await queue.tick()
    for job_id in ids:
        assert (await record_of(queue, job_id)).state is JobState.ENDED, job_id
        assert 0 < await redis.ttl(f"{{ovid:0}}:job:{job_id}") <= 100, job_id
        assert await redis.ttl(f"{{ovid:0}}:text:{job_id}") <= 100, job_id
        await queue.shown(BOT, job_id)
    assert await leftovers(redis) == []


async def test_an_unfinished_job_outlives_its_deadline_but_not_for_ever(queue, redis):
    await submit(queue, "a")
    await claim(queue)
    await beat(queue, "a", "text")
    for key in ("{ovid:0}:job:a", "{ovid:0}:text:a"):
        assert 600 < await redis.ttl(key) <= 600 + 3600


async def test_what_a_lost_job_could_leave_behind_expires(queue, redis):
    await submit(queue, "a", "b")
    await claim(queue, num_free=1)
    for name in ("own:bot", "waiting:ann", "held:e1", "events:bot"):
        assert 0 < await redis.ttl(f"{{ovid:0}}:{name}") <= 86_400, name


async def test_an_engine_unseen_for_an_hour_is_forgotten(queue, redis):
    await claim(queue, "e1", 0)
    await claim(queue, "e2", 0)
    await silence(redis, "e1")
    stats = await queue.tick()
    assert stats.engines == {"e2": MODEL}
    assert await redis.zrange("{ovid:0}:engines", 0, -1) == [b"e2"]
    assert await redis.hkeys("{ovid:0}:models") == [b"e2"]
