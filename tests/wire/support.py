"""What the queue's tests share: short ways to make jobs, and to make time pass in Redis."""

import time
from collections.abc import Sequence
from typing import Any, cast

from redis.asyncio import Redis

from wire.jobs import Done, Failed, FinishReason, Job, Usage
from wire.keys import DAY_S, RECORD_TTL_S
from wire.queue import Bounds, Claimed, JobQueue, JobRecord, Progress

BOT = "bot"
MODEL = "124M"
MODELS = (MODEL,)
COMMON = ["124M", "notes"]
RARE = ["124M", "1558M"]
ROOMY = Bounds(max_waiting=10_000, max_unfinished_per_user=10_000)
PREFIX = "{ovid:0}"
# What may be left when all jobs have ended and their last words are shown.
LASTING = ("engines", "models", "marks", "clock", "bell", "dead")
LONGEST_DEADLINE_S = 900
EXPIRING = {"job": RECORD_TTL_S, "text": RECORD_TTL_S + LONGEST_DEADLINE_S, "events": DAY_S}
"""And for how many seconds at most: a text whose job is lost stays as long as if it were not."""


def make_job(job_id: str, user_id: str = "ann", **fields: Any) -> Job:
    fields.setdefault("deadline_unix_ms", int(time.time() * 1000) + 600_000)
    return Job(job_id=job_id, user_id=user_id, bot_id=fields.pop("bot_id", BOT), **fields)


def make_done(reason: FinishReason = FinishReason.LENGTH) -> Done:
    usage = Usage(prompt_tokens=3, completion_tokens=5, queue_ms=7, first_token_ms=11, total_ms=13)
    return Done(finish_reason=reason, usage=usage, model_name=MODEL, seed=17)


async def submit(
    queue: JobQueue, *job_ids: str, user_id: str = "ann", model: str | None = None
) -> None:
    for job_id in job_ids:
        await queue.submit(make_job(job_id, user_id, model=model), ROOMY)


async def claim(
    queue: JobQueue,
    engine: str = "e1",
    num_free: int = 100,
    held: Sequence[str] = (),
    models: Sequence[str] = MODELS,
) -> list[Claimed]:
    return await queue.claim(engine, models, num_free, held)


async def claim_ids(
    queue: JobQueue,
    engine: str = "e1",
    num_free: int = 100,
    held: Sequence[str] = (),
    models: Sequence[str] = MODELS,
) -> list[str]:
    return [each.job.job_id for each in await claim(queue, engine, num_free, held, models)]


async def beat(
    queue: JobQueue,
    job_id: str,
    text: str = "",
    *,
    engine: str = "e1",
    attempt: int = 1,
    offset: int = 0,
) -> int:
    [verdict] = await queue.beat(engine, [Progress(job_id, attempt, offset, text)])
    return verdict


async def finish(
    queue: JobQueue,
    job_id: str,
    text: str = "",
    *,
    engine: str = "e1",
    attempt: int = 1,
    offset: int = 0,
    outcome: Done | Failed | None = None,
) -> int:
    progress = Progress(job_id, attempt, offset, text)
    return await queue.finish(engine, progress, outcome or make_done())


async def record_of(queue: JobQueue, job_id: str) -> JobRecord:
    record = await queue.snapshot(job_id)
    assert record is not None, f"Redis has forgotten {job_id}"
    return record


async def kinds(queue: JobQueue, job_id: str) -> list[str]:
    hints = await queue.hints(BOT, "0-0", block_ms=0)
    return [hint.kind for hint in hints if hint.job_id == job_id]


async def now_ms(redis: Redis) -> int:
    seconds, microseconds = await redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


async def lapse(redis: Redis, *job_ids: str) -> None:
    """Let leases lapse, with a script run just now: the engine is silent, not Redis."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.zadd(f"{PREFIX}:lease", dict.fromkeys(job_ids, 1), xx=True)
        pipe.set(f"{PREFIX}:clock", await now_ms(redis))
        await pipe.execute()


async def expire(redis: Redis, *job_ids: str) -> None:
    """Let deadlines pass."""
    await redis.zadd(f"{PREFIX}:open", dict.fromkeys(job_ids, 1), xx=True)
    for job_id in job_ids:
        await redis.hset(f"{PREFIX}:job:{job_id}", "deadline", "1")


async def silence(redis: Redis, engine: str) -> None:
    """Make an engine's last sign of life long ago."""
    await redis.zadd(f"{PREFIX}:engines", {engine: 1}, xx=True)


async def leftovers(redis: Redis) -> list[str]:
    """Name the keys that should not be there once all jobs have ended and are shown."""
    found = []
    for key in await redis.keys("*"):
        name = cast("bytes", key).decode().removeprefix(f"{PREFIX}:")
        kind = name.partition(":")[0]
        expires = 0 < await redis.ttl(key) <= EXPIRING.get(kind, 0)
        if not (kind in LASTING or expires):
            found.append(name)
    return sorted(found)
