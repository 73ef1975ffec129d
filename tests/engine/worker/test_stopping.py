"""A worker that is told to stop: what runs is finished or handed back, and it leaves."""

import asyncio
import logging
from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from tests.engine.serving import (
    DEADLINE_S,
    EndlessQueue,
    Gate,
    ended,
    has_text,
    serving,
    submit,
    until,
)
from tests.engine.support import forever_a, replies
from tests.wire.support import (
    MODELS,
    record_of,
)
from wire.jobs import Outcome
from wire.queue import Claimed, JobQueue, JobState, Progress


async def test_a_stop_without_grace_hands_back_what_runs_and_counts_no_attempt(queue: JobQueue):
    await submit(queue, "1", "endless")
    async with serving(queue, forever_a) as running:
        await has_text(queue, "1")
        await running.stopped()
    record = await record_of(queue, "1")
    assert (record.state, record.attempt, record.engine) == (JobState.WAITING, 0, None)
    assert (await queue.tick()).num_engines == 0
    async with serving(queue, replies({"endless": "whole"}), name="e2"):
        record = await ended(queue, "1")
    assert (record.text, record.attempt, record.engine) == ("whole", 1, "e2")


async def test_a_stop_with_grace_lets_a_reply_be_finished(queue: JobQueue):
    gate = Gate("hi", "to the end", before=3)
    await submit(queue, "1", "hi")
    async with serving(queue, gate, grace_s=DEADLINE_S) as running:
        await has_text(queue, "1", "to ")
        running.stop.set()
        gate.opened.set()
        await running.stopped()
    record = await record_of(queue, "1")
    assert (record.state, record.text) == (JobState.ENDED, "to the end")


class SlowAnswers(EndlessQueue):
    """The real queue; the answer to a claim that brings a job is held up until it is let go."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.holds_one_up = asyncio.Event()
        self.let_go = asyncio.Event()

    async def claim(
        self, engine: str, models: Sequence[str], num_free: int, held: Sequence[str]
    ) -> list[Claimed]:
        claimed = await super().claim(engine, models, num_free, held)
        if claimed:
            self.holds_one_up.set()
            await self.let_go.wait()
        return claimed


async def test_a_job_that_was_claimed_while_the_stop_came_is_handed_back_too(redis: Redis):
    queue = SlowAnswers(redis)
    await submit(queue, "1", "endless")
    async with serving(queue, forever_a) as running:
        async with asyncio.timeout(DEADLINE_S):
            await queue.holds_one_up.wait()
        running.stop.set()
        # Let the worker see the stop before the answer comes.
        for _ in range(50):
            await asyncio.sleep(0)
        queue.let_go.set()
        await running.stopped()
    record = await record_of(queue, "1")
    assert (record.state, record.attempt) == (JobState.WAITING, 0)
    [claimed] = await queue.claim("e2", MODELS, 1, [])
    assert not claimed.suspect


class OvertakenFinish(EndlessQueue):
    """The real queue; the answer to a last word comes after that to a beat behind it."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.is_ended, self.is_heard = asyncio.Event(), asyncio.Event()

    async def finish(self, engine: str, progress: Progress, outcome: Outcome) -> int:
        verdict = await super().finish(engine, progress, outcome)
        self.is_ended.set()
        async with asyncio.timeout(DEADLINE_S):
            await self.is_heard.wait()
        return verdict

    async def beat(self, engine: str, progress: Sequence[Progress]) -> list[int]:
        is_behind = self.is_ended.is_set()
        verdicts = await super().beat(engine, progress)
        if is_behind and verdicts == [0]:
            # Once whoever beats has heeded it.
            asyncio.get_running_loop().call_later(0, self.is_heard.set)
        return verdicts


async def test_a_beat_that_overtakes_the_last_word_hides_no_outcome(
    redis: Redis, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    queue = OvertakenFinish(redis)
    await submit(queue, "1", "hi")

    async def is_logged() -> bool:
        return "job=1 attempt=1 ending=done reason=stop" in caplog.text

    async with serving(queue, replies({"hi": "x"})):
        await until(is_logged)


class LateBeat(EndlessQueue):
    """The real queue; from some time on a beat arrives just behind the farewell."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.is_slow, self.is_under_way, self.has_left, self.is_over = (
            asyncio.Event() for _ in range(4)
        )

    async def beat(self, engine: str, progress: Sequence[Progress]) -> list[int]:
        if not self.is_slow.is_set():
            return await super().beat(engine, progress)
        self.is_under_way.set()
        try:
            await self.has_left.wait()
            return await super().beat(engine, progress)
        finally:
            self.is_over.set()

    async def leave(self, engine: str) -> None:
        await super().leave(engine)
        self.has_left.set()
        await self.is_over.wait()


async def test_an_engine_that_has_left_gives_no_sign_of_life(redis: Redis):
    queue = LateBeat(redis)
    await submit(queue, "1", "endless")
    async with serving(queue, forever_a) as running:
        await has_text(queue, "1")
        queue.is_slow.set()
        async with asyncio.timeout(DEADLINE_S):
            await queue.is_under_way.wait()
        await running.stopped()
    assert (await queue.tick()).num_engines == 0
