"""JobQueue: jobs in Redis. Owns what the keys hold; knows neither Discord nor models.

State is truth, events are hints: a job's hash and its text always hold everything.
"""

import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Any, cast

from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from wire import keys
from wire.answers import (
    read_announced,
    read_hints,
    read_models,
    read_names,
    read_record,
    read_stats,
    read_submitted,
)
from wire.connection import BLOCK_MAX_S
from wire.jobs import ErrorCode, Failed, Job, Outcome, explain
from wire.records import (
    Admission,
    Announced,
    Bounds,
    Claimed,
    Hint,
    JobRecord,
    JobState,
    Progress,
    QueueStats,
    Submitted,
)
from wire.scripting import register, script_settings
from wire.version import VERSION
from wire.wrong_type import read_or_clear

__all__ = [
    "Admission",
    "Announced",
    "Bounds",
    "Claimed",
    "Hint",
    "JobQueue",
    "JobRecord",
    "JobState",
    "Progress",
    "QueueStats",
    "Submitted",
]

DEFAULT_BOUNDS = Bounds()
SCRIPTS = (
    *("submit", "cancel", "snapshot", "place", "note", "adopt", "follow", "owe", "shown", "tick"),
    *("models", "marks", "claim", "beat", "finish", "release", "leave", "announce"),
)
HINTS_PER_READ = 500


class JobQueue:
    """One lane of jobs at one Redis. Every method may be repeated without harm.

    Every method raises `redis.RedisError` when Redis cannot be reached or refuses. Time is
    Redis's own, so the clocks of bots and engines need not agree.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        lane: int = 0,
        lease_ms: int = keys.LEASE_MS,
        max_attempts: int = keys.MAX_ATTEMPTS,
        record_ttl_s: int = keys.RECORD_TTL_S,
    ) -> None:
        """Use `redis`, as `wire.connection.connect` makes it (answers are bytes)."""
        self._redis = redis
        self._lane = keys.Lane(lane)
        self._scripts = register(redis, SCRIPTS)
        self._settings = script_settings(
            lease_ms=lease_ms, max_attempts=max_attempts, record_ttl_s=record_ttl_s
        )

    async def submit(self, job: Job, bounds: Bounds = DEFAULT_BOUNDS) -> Submitted:
        """Put a job into its user's line, or say why not.

        What is left until the job's deadline is measured with this machine's clock, and counted
        down with Redis's. A call that lost its answer is repeated and answered as the first was;
        only another call with the same job_id is a duplicate.
        """
        ttl_ms = job.deadline_unix_ms - int(time.time() * 1000)
        args = (
            *(job.job_id, job.user_id, job.bot_id, job.model_dump_json(), ttl_ms),
            *(job.params.seed or 0, secrets.token_hex(8)),
            *(bounds.max_waiting, bounds.max_unfinished_per_user, job.model or ""),
        )
        try:
            answer = await self._run("submit", *args)
        except RedisTimeoutError:
            answer = await self._run("submit", *args)
        return read_submitted(answer)

    async def cancel(self, job_id: str) -> bool:
        """Stop a job: a waiting one now, a running one at its engine's next beat.

        Returns:
            False when the job is unknown or has ended already.
        """
        return bool(await self._run("cancel", job_id))

    async def snapshot(self, job_id: str) -> JobRecord | None:
        """Read a job and its text as they are at one moment; None when Redis has forgotten it.

        Raises:
            ValueError: When a program of another wire version wrote the job, or somebody by hand.
        """
        return read_record(await self._run("snapshot", job_id))

    async def place(self, job_id: str) -> int | None:
        """Estimate a job's place in line: 1 is next, None is not waiting.

        It counts the jobs that begin sooner if nobody else comes: all suspects, and then, users
        taking turns, those whose turn is before this one's, as if every engine had every model.
        Newcomers with shorter lines can still overtake the later jobs of a user, and a job ahead
        that is cancelled brings it forward.
        """
        num_ahead = cast("int", await self._run("place", job_id))
        return None if num_ahead < 0 else num_ahead + 1

    async def note_messages(self, job_id: str, message_ids: Sequence[int]) -> None:
        """Write down which messages show a job, part by part; nothing for a forgotten job."""
        await self._run("note", job_id, ",".join(str(each) for each in message_ids))

    async def adopt(self, job_id: str) -> None:
        """Write down that another run of the bot than the one that submitted a job shows it."""
        await self._run("adopt", job_id)

    async def own(self, bot_id: str) -> frozenset[str]:
        """List the jobs that this bot submitted and whose last word it has not yet shown."""
        own = self._lane.own(bot_id)
        members = await read_or_clear(self._redis, lambda: self._redis.smembers(own), own)
        names, nobodys = read_names(cast("set[bytes]", members))
        if nobodys:
            await self._redis.srem(own, *nobodys)
        return names

    async def shown(self, bot_id: str, job_id: str) -> None:
        """Note that the last word on a job is shown (or that nobody can be told any more)."""
        await self._run("shown", bot_id, job_id)

    async def owe(self, bot_id: str, job_ids: Iterable[str]) -> None:
        """Have `own` list these jobs again, if it was lost and they are not shown to the end."""
        await self._run("owe", bot_id, *job_ids)

    async def follow(self, bot_id: str) -> str:
        """Say where this bot's stream ends now; "0-0" when nothing was ever written to it.

        What `own` has lost of jobs that ended, it lists again, as far as the stream goes back.
        """
        return cast("bytes", await self._run("follow", bot_id)).decode()

    async def hints(self, bot_id: str, after: str, block_ms: int = 2000) -> list[Hint]:
        """Read on in this bot's stream, waiting for news if there are none.

        Args:
            bot_id: Whose stream.
            after: The last hint's `entry_id`, or what `follow` said.
            block_ms: How long to wait, at most two seconds; 0 does not wait.
        """
        streams = await self._redis.xread(
            {self._lane.events(bot_id): after},
            count=HINTS_PER_READ,
            block=min(block_ms, int(BLOCK_MAX_S * 1000)) or None,
        )
        return read_hints(streams)

    async def tick(self) -> QueueStats:
        """Keep deadlines and leases, repair what was lost of the indexes, and count.

        Bots call it every `wire.keys.TICK_INTERVAL_S`.
        """
        return read_stats(await self._run("tick"))

    async def models(self) -> tuple[str, ...]:
        """List what a job may name: what live engines have.

        The models that engines run where none is named come first, the most common of them at the
        head; the others follow in ABC order.
        """
        return read_models(await self._run("models"))

    async def announce(self, engine: str, fingerprint: str) -> dict[str, Announced]:
        """Note which watermark key and version an engine has, and say what all live ones have.

        Of two engines that announce themselves, the later one sees both. To be repeated now and
        then: what Redis has lost is there again.

        Args:
            engine: that has claimed before; of one that Redis does not know nothing is noted.
            fingerprint: from which nothing follows about the key; empty: it marks nothing.

        Returns:
            As `announced`.
        """
        return read_announced(await self._run("announce", engine, fingerprint, VERSION))

    async def announced(self) -> dict[str, Announced]:
        """Say what each live engine says of itself; one that has only just come is left out."""
        return read_announced(await self._run("marks"))

    async def claim(
        self, engine: str, models: Sequence[str], num_free: int, held: Sequence[str]
    ) -> list[Claimed]:
        """Take up to `num_free` jobs; also the engine's sign of life.

        Args:
            engine: A name that no other process has had or will have: the fence stands on it.
            models: What the engine has, the one for jobs that name none first; jobs that name
                another are left to others. Beyond `wire.keys.MAX_MODELS` they are not offered.
            num_free: Free slots; 0 only says that the engine lives.
            held: Every job that this engine holds, up to and including the answer to `finish` or
                `release`. What it holds by Redis's account and does not name is handed over again,
                or counts as lost if it ever wrote to it.

        Returns:
            At most `num_free` jobs, one suspect among those an engine holds. A job that this
            version can't read is failed, not returned.
        """
        claimed = []
        for row in await self._claim_rows(engine, models[: keys.MAX_MODELS], num_free, held):
            job_id, attempt, body, waited_ms, suspect = row
            try:
                job = Job.model_validate_json(body)
            except ValidationError as error:
                said = f"This engine can't read the request: {explain(error)}"
                progress = Progress(job_id.decode(errors="replace"), attempt, 0, "")
                refusal = Failed(code=ErrorCode.INVALID_REQUEST, message=said)
                await self.finish(engine, progress, refusal)
            else:
                claimed.append(Claimed(job, attempt, waited_ms, bool(suspect)))
        return claimed

    async def _claim_rows(
        self, engine: str, models: Sequence[str], num_free: int, held: Sequence[str]
    ) -> list[tuple[bytes, int, bytes, int, int]]:
        # One call looks at so many jobs, and stops no other client for longer than that takes.
        num_passed_over = 0
        while True:
            bounds = (num_free, num_passed_over, len(models))
            answer = await self._run("claim", engine, *bounds, *models, *held)
            num_passed_over, *rows = cast("list[Any]", answer)
            if rows or num_passed_over == 0:
                return rows

    async def beat(self, engine: str, progress: Sequence[Progress]) -> list[int]:
        """Renew the leases of all running jobs and append what they wrote; a sign of life too.

        Returns:
            For each item: 0 not this engine's any more (drop it silently), 1 go on, 2 cancel
            asked, -(1 + n) send again from byte n of the attempt's UTF-8 text.
        """
        args = [arg for each in progress for arg in _args_of(each)]
        return cast("list[int]", await self._run("beat", engine, *args))

    async def finish(self, engine: str, progress: Progress, outcome: Outcome) -> int:
        """Append the last of the text and end the job.

        Returns:
            1 ended with this outcome (now or by an earlier call), 0 not this engine's any more,
            -(1 + n) send again from byte n.
        """
        args = (*_args_of(progress), outcome.model_dump_json())
        return cast("int", await self._run("finish", engine, *args))

    async def release(self, engine: str, job_id: str, attempt: int) -> bool:
        """Give a job back to the head of its line; the attempt does not count.

        Returns:
            False when the job is not this engine's any more.
        """
        return bool(await self._run("release", engine, job_id, attempt))

    async def leave(self, engine: str) -> None:
        """Say that an engine is gone: what it wrote to and did not release is lost at once."""
        await self._run("leave", engine)

    async def wait_for_work(self, timeout_s: float, models: Sequence[str] = ()) -> bool:
        """Wait until the bell rings for this engine, two seconds at most; then claim.

        Args:
            timeout_s: How long to wait.
            models: What the engine has, as for `claim`.

        Returns:
            False when the time ran out. Claim all the same: a bell can be lost.
        """
        # To Redis, 0 is for ever.
        timeout_s = min(max(timeout_s, 0.01), BLOCK_MAX_S)
        bells = [self._lane.bell(), *map(self._lane.bell, models[: keys.MAX_MODELS])]
        rung = await read_or_clear(self._redis, lambda: self._redis.blpop(bells, timeout_s), *bells)
        return rung is not None

    async def _run(self, script: str, *args: str | int) -> object:
        return await self._scripts[script](self._lane.prefix, self._settings, *args)


def _args_of(progress: Progress) -> tuple[str, int, int, str]:
    return progress.job_id, progress.attempt, progress.offset_bytes, progress.text
