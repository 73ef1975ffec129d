"""What the worker writes into a job's record: text, last words, signs of life."""

import pytest
from redis.asyncio import Redis

from engine.running_job import RunningJob
from tests.engine.serving import (
    Gate,
    ended,
    has_text,
    serving,
    submit,
    until,
)
from tests.engine.support import forever_a, replies
from tests.wire.support import (
    PREFIX,
    make_job,
    record_of,
)
from wire.jobs import Done, FinishReason
from wire.queue import Claimed, JobQueue, JobState


async def test_text_and_the_last_word_arrive_in_the_record(queue: JobQueue):
    await submit(queue, "1", "hi")
    async with serving(queue, replies({"hi": "né🤖o"})):
        record = await ended(queue, "1")
    assert record.text == "né🤖o"
    assert (record.attempt, record.engine, record.model_name) == (1, "e1", "tiny")
    assert isinstance(record.outcome, Done)
    done = record.outcome
    assert (done.finish_reason, done.seed, done.model_name) == (FinishReason.STOP, 5, "tiny")
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (2, 8)


async def test_more_jobs_than_slots_get_each_their_own_text(queue: JobQueue):
    texts: dict[str, str | bytes | list[int]] = {f"p{n}": f"reply {n} " * (n + 1) for n in range(9)}
    async with serving(queue, replies(texts), num_slots=3):
        for number, prompt in enumerate(texts):
            await submit(queue, str(number), prompt, user_id=f"user{number % 4}")
        records = [await ended(queue, str(number)) for number in range(len(texts))]
    assert [record.text for record in records] == list(texts.values())
    assert {record.attempt for record in records} == {1}


async def test_text_is_in_the_record_while_the_reply_is_still_being_written(queue: JobQueue):
    gate = Gate("hi", "né🤖, 日本", before=8)
    await submit(queue, "1", "hi")
    async with serving(queue, gate):
        await has_text(queue, "1", "né🤖,")
        assert (await record_of(queue, "1")).state is JobState.RUNNING
        gate.opened.set()
        assert (await ended(queue, "1")).text == "né🤖, 日本"


async def test_text_that_redis_has_lost_is_sent_again(queue: JobQueue, redis: Redis):
    gate = Gate("hi", "né🤖, 日本", before=8)
    await submit(queue, "1", "hi")
    async with serving(queue, gate):
        await has_text(queue, "1", "né🤖,")
        # As after a crash that cost the last second: what was written last is gone.
        await redis.set(f"{PREFIX}:text:1", "né")
        gate.opened.set()
        record = await ended(queue, "1")
    assert (record.text, record.attempt) == ("né🤖, 日本", 1)


async def test_text_whose_last_character_redis_kept_a_part_of_is_whole_again(
    queue: JobQueue, redis: Redis
):
    gate = Gate("hi", "né🤖, 日本", before=8)
    await submit(queue, "1", "hi")
    async with serving(queue, gate):
        await has_text(queue, "1", "né🤖,")
        await redis.set(f"{PREFIX}:text:1", "né🤖".encode()[:-2])
        gate.opened.set()
        record = await ended(queue, "1")
    assert (record.text, record.attempt) == ("né🤖, 日本", 1)


async def test_a_cancellation_reaches_the_engine_and_its_slot_is_free(queue: JobQueue):
    await submit(queue, "1", "endless")
    async with serving(queue, forever_a, num_slots=1):
        await has_text(queue, "1")
        await submit(queue, "2", "hi")
        assert await queue.cancel("1")
        first = await ended(queue, "1")
        second = await ended(queue, "2")
    assert isinstance(first.outcome, Done)
    assert first.outcome.finish_reason is FinishReason.CANCELLED
    assert first.text == "a" * first.outcome.usage.completion_tokens
    assert second.text == "a" * 1000


async def test_redis_may_ask_again_from_inside_a_character():
    claimed = Claimed(make_job("1"), attempt=1, waited_ms=0, suspect=False)
    job = RunningJob(claimed, bytearray("né🤖o".encode()))
    for num_kept, expected in enumerate(
        ["né🤖o", "é🤖o", "é🤖o", "🤖o", "🤖o", "🤖o", "🤖o", "o", ""]
    ):
        job.confirm(job.progress(), -(1 + num_kept))
        progress = job.progress()
        assert progress.text == expected
        assert progress.offset_bytes == len("né🤖o".encode()) - len(expected.encode())


async def test_an_idle_worker_is_seen_to_be_alive_and_its_model_is_known(queue: JobQueue):
    async with serving(queue, forever_a):

        async def is_listed() -> bool:
            return (await queue.tick()).engines == {"e1": "tiny"}

        await until(is_listed)


async def test_nothing_of_a_prompt_or_a_reply_is_logged(
    queue: JobQueue, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("DEBUG")
    await submit(queue, "1", "secret question")
    async with serving(queue, replies({"secret question": "private answer"})):
        await ended(queue, "1")
    engine_logs = [record for record in caplog.records if record.name.startswith("engine")]
    told = [record.getMessage() for record in engine_logs]
    assert any(line.startswith("job=1 attempt=1 ending=done reason=stop ") for line in told)
    assert "secret question" not in caplog.text
    assert "private answer" not in caplog.text
