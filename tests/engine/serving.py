"""A worker that serves a real queue with a real engine thread and a fake model."""

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.errors import EngineStoppedError
from engine.model_pool import ModelPool
from engine.worker import Worker
from tests.engine.pools import FakeLoader, make_pool, write_model
from tests.engine.support import ENDLESS, NextToken, replies
from tests.wire.support import ROOMY, make_job, record_of
from wire.jobs import Job, SamplingParams
from wire.queue import Claimed, JobQueue, JobRecord, JobState

DEADLINE_S = 60
POLL_S = 0.01


class EndlessQueue(JobQueue):
    """The real queue, but a job whose prompt is "endless" comes without a bound on its length."""

    async def claim(
        self, engine: str, models: Sequence[str], num_free: int, held: Sequence[str]
    ) -> list[Claimed]:
        claimed = await super().claim(engine, models, num_free, held)
        return [self._unbound(each) if each.job.prompt == "endless" else each for each in claimed]

    def _unbound(self, claimed: Claimed) -> Claimed:
        params = claimed.job.params.model_copy(update={"max_tokens": ENDLESS})
        return replace(claimed, job=claimed.job.model_copy(update={"params": params}))


class Running:
    """A worker that runs, and how to end it."""

    def __init__(self, pool: ModelPool, worker: Worker) -> None:
        self.pool = pool
        self.worker = worker
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(worker.run(self.stop))

    async def stopped(self) -> None:
        self.stop.set()
        async with asyncio.timeout(DEADLINE_S):
            await self.task


@asynccontextmanager
async def serving(
    queue: JobQueue,
    next_token: NextToken | dict[str, NextToken],
    *,
    num_slots: int = 2,
    grace_s: float = 0.0,
    name: str = "e1",
    **options: Any,
) -> AsyncIterator[Running]:
    """Run a worker with a model called `tiny`, or with several by name, the first the default."""
    next_tokens = next_token if isinstance(next_token, dict) else {"tiny": next_token}
    load = FakeLoader(next_tokens, pace_s=0.001)
    with tempfile.TemporaryDirectory() as folder:
        for model in next_tokens:
            write_model(Path(folder), model)
        pool = make_pool(Path(folder), load, next(iter(next_tokens)), num_slots=num_slots)
        async with running_worker(queue, pool, num_slots, grace_s, name, **options) as running:
            yield running


@asynccontextmanager
async def running_worker(
    queue: JobQueue,
    pool: ModelPool,
    num_slots: int = 2,
    grace_s: float = 0.0,
    name: str = "e1",
    **options: Any,
) -> AsyncIterator[Running]:
    async with pool:
        worker = Worker(pool, queue, name=name, num_slots=num_slots, grace_s=grace_s, **options)
        running = Running(pool, worker)
        try:
            yield running
        finally:
            running.task.cancel()
            with contextlib.suppress(asyncio.CancelledError, EngineStoppedError):
                await running.task


async def submit(queue: JobQueue, job_id: str, prompt: str, **fields: Any) -> Job:
    params = SamplingParams(seed=5, max_tokens=1000)
    job = make_job(job_id, prompt=prompt, params=params, **fields)
    await queue.submit(job, ROOMY)
    return job


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():
            await asyncio.sleep(POLL_S)


async def ended(queue: JobQueue, job_id: str) -> JobRecord:
    async def has_ended() -> bool:
        return (await record_of(queue, job_id)).state is JobState.ENDED

    await until(has_ended)
    return await record_of(queue, job_id)


async def has_text(queue: JobQueue, job_id: str, text: str = "a") -> None:
    async def shows() -> bool:
        return text in (await record_of(queue, job_id)).text

    await until(shows)


class Gate:
    """A model that stops computing at a place of its reply until it is told to go on."""

    def __init__(self, prompt: str, reply: str, *, before: int) -> None:
        self._next_token = replies({prompt: reply})
        self._held_up_at = len(prompt.encode()) + before
        self.opened = threading.Event()

    def __call__(self, held: Sequence[int]) -> int:
        if len(held) == self._held_up_at:
            assert self.opened.wait(DEADLINE_S), "the gate was never opened"
        return self._next_token(held)
