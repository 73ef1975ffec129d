"""Hints make the bot fast; without them nothing is lost."""

import asyncio

from tests.wire.support import BOT, beat, claim, finish, lapse, make_job, now_ms, submit
from wire import keys

EVENTS = f"{{ovid:0}}:events:{BOT}"


async def test_hints_tell_what_happened_in_order_and_can_be_read_on_from(queue, redis):
    await submit(queue, "a")
    await claim(queue)
    await beat(queue, "a", "Once")
    await lapse(redis, "a")
    await queue.tick()
    first = await queue.hints(BOT, "0-0", block_ms=0)
    assert [(hint.kind, hint.attempt) for hint in first] == [
        ("started", 1),
        ("delta", 1),
        ("retried", 1),
    ]
    assert {hint.job_id for hint in first} == {"a"}
    await claim(queue)
    await finish(queue, "a", attempt=2)
    rest = await queue.hints(BOT, first[-1].entry_id, block_ms=0)
    assert [(hint.kind, hint.attempt) for hint in rest] == [("started", 2), ("ended", 2)]
    assert await queue.hints(BOT, rest[-1].entry_id, block_ms=0) == []


async def test_each_bot_reads_its_own_hints(queue):
    await queue.submit(make_job("a", bot_id="bot1"))
    await queue.submit(make_job("b", bot_id="bot2"))
    await claim(queue)
    assert [hint.job_id for hint in await queue.hints("bot1", "0-0", block_ms=0)] == ["a"]
    assert [hint.job_id for hint in await queue.hints("bot2", "0-0", block_ms=0)] == ["b"]


async def test_a_bot_that_waits_is_woken(queue, patient_queue):
    await submit(queue, "a")
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(patient_queue.hints(BOT, "0-0", block_ms=30_000))
        await claim(queue)
    assert [hint.kind for hint in waiting.result()] == ["started"]


async def test_the_end_of_the_stream_is_where_only_news_follow(queue):
    assert await queue.follow(BOT) == "0-0"
    await submit(queue, "a", "b")
    await claim(queue, num_free=1)
    end = await queue.follow(BOT)
    assert await queue.hints(BOT, end, block_ms=0) == []
    await claim(queue, num_free=1, held=["a"])
    assert [hint.job_id for hint in await queue.hints(BOT, end, block_ms=0)] == ["b"]


async def test_a_deleted_stream_goes_on_where_a_reader_stands(queue, redis):
    await submit(queue, "a", "b")
    await claim(queue, num_free=1)
    end = await queue.follow(BOT)
    await redis.delete(EVENTS)
    while await now_ms(redis) <= int(end.partition("-")[0]):
        pass  # ids count milliseconds: within one, a new stream would begin where the old ended
    await claim(queue, num_free=1, held=["a"])
    assert [hint.job_id for hint in await queue.hints(BOT, end, block_ms=0)] == ["b"]


async def test_the_stream_is_trimmed(queue, redis):
    async with redis.pipeline() as pipe:
        for _ in range(keys.STREAM_MAX_ENTRIES + 500):
            pipe.xadd(EVENTS, {"job": "old", "attempt": 1, "kind": "delta"})
        await pipe.execute()
    await submit(queue, "a")
    await claim(queue)
    assert await redis.xlen(EVENTS) < keys.STREAM_MAX_ENTRIES + 200
    assert await redis.ttl(EVENTS) > 0
