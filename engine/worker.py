"""Owns the Redis door: jobs claimed from the queue, their text written back. Knows no tensors.

Three loops over one table of running jobs: one claims, one beats (writes text, renews leases,
hears of cancellations), and each job has a task that listens to the engine. A job that the queue
says is another's is dropped without a word; a Redis that is away is waited for, text in hand.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from typing import TypeVar

from redis.exceptions import RedisError

from engine.errors import EngineError, EngineStoppedError
from engine.key_watch import KeyWatch
from engine.metrics import EngineMetrics
from engine.model_pool import ModelPool
from engine.running_job import RunningJob
from engine.verifier import Verifier
from engine.waiting import cancel, unless, wait
from wire.endings import Ending
from wire.jobs import Delta, Done, ErrorCode, Failed, Outcome
from wire.log_lines import log_facts
from wire.queue import Claimed, JobQueue, Progress
from wire.redis_state import RedisWatch

log = logging.getLogger(__name__)

BEAT_S = 0.05
"""How often new text is written."""
QUIET_BEAT_S = 0.5
"""How often a job without new text is confirmed: a pressed Stop is heard that soon."""
IDLE_CLAIM_S = 2.0
"""How often an idle engine looks for work that no bell announced, and shows that it lives."""
FAREWELL_S = 5.0
"""How long handing jobs back may take at the end."""
RETRY_S = 0.5
"""Pause before Redis is tried again."""

STEP_LOOP_DIED = "The engine's step loop has died; its log says why."

NOT_YOURS, GO_ON, CANCEL = 0, 1, 2

T = TypeVar("T")


class Worker:
    """Serve the jobs for a pool of models until told to stop.

    Args:
        pool: open.
        queue: the lane to serve.
        name: of this engine, never used before: leases are fenced by it.
        num_slots: jobs that run at once, whatever their models.
        grace_s: how long `stop` lets running jobs finish before they are handed back.
        verifier: answers whether texts were written here; left out: there is no key to tell by.
        fingerprint: of the key that marks the pool's texts; empty where nothing is marked.
        metrics: counts what ends; left out: nobody reads them.
    """

    def __init__(
        self,
        pool: ModelPool,
        queue: JobQueue,
        *,
        name: str,
        num_slots: int,
        grace_s: float,
        verifier: Verifier | None = None,
        fingerprint: str = "",
        metrics: EngineMetrics | None = None,
    ) -> None:
        self.redis = RedisWatch(log)
        self.has_ended = False
        self._pool = pool
        self._queue = queue
        self._name = name
        self._num_slots = num_slots
        self._grace_s = grace_s
        self._verifier = verifier or Verifier(pool.folders)
        self._key_watch = KeyWatch(queue, name, fingerprint)
        self._jobs: dict[str, RunningJob] = {}
        self._slot_freed = asyncio.Event()
        self._text_written = asyncio.Event()
        self._metrics = metrics or EngineMetrics()

    @property
    def num_running(self) -> int:
        """Return how many jobs are being served."""
        return len(self._jobs)

    async def run(self, stop: asyncio.Event) -> None:
        """Claim and serve until `stop` is set; then finish or hand back what runs, and leave.

        Raises:
            EngineStoppedError: a step loop has died. Its jobs are left to their leases, so that
                whichever of them killed it is found out by another engine.
        """
        beating = asyncio.create_task(self._beat_loop())
        claiming = asyncio.create_task(self._claim_loop(stop))
        stopping = asyncio.create_task(stop.wait())
        try:
            loops = {beating, claiming, stopping}
            ended, _ = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                # A claim under way may bring jobs, which have to be handed back like the others.
                await claiming
                await self._wind_down(beating)
            for task in ended:
                task.result()
        finally:
            self.has_ended = True
            jobs = [job.task for job in self._jobs.values() if job.task]
            await cancel(beating, claiming, stopping, *jobs)

    async def _heard(self, kind: str, call: Awaitable[T]) -> T:
        """Await a call to the queue and note how it went; all of these write."""
        try:
            answer = await call
        except RedisError as error:
            self.redis.failed(kind, error)
            raise
        self.redis.wrote(kind)
        return answer

    async def _claim_loop(self, stop: asyncio.Event) -> None:
        while self._pool.is_alive and not stop.is_set():
            num_free = self._num_slots - len(self._jobs)
            models = await asyncio.to_thread(self._pool.names)
            try:
                claim = self._queue.claim(self._name, models, num_free, list(self._jobs))
                for each in await self._heard("claim", claim):
                    self._start(each)
                await self._heard("announce", self._key_watch.look())
                await self._wait_for_room_and_work(models, stop)
            except RedisError:
                await asyncio.sleep(RETRY_S)
        if not stop.is_set():
            raise EngineStoppedError(STEP_LOOP_DIED)

    async def _wait_for_room_and_work(self, models: list[str], stop: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_CLAIM_S + 1):
                if len(self._jobs) < self._num_slots:
                    bell = self._queue.wait_for_work(IDLE_CLAIM_S, models)
                    await unless(stop, self._heard("wait", bell))
                else:
                    self._slot_freed.clear()
                    await unless(stop, self._slot_freed.wait())

    async def _beat_loop(self) -> None:
        while self._pool.is_alive:
            await asyncio.sleep(BEAT_S)
            await wait(self._text_written, QUIET_BEAT_S if self._jobs else IDLE_CLAIM_S)
            self._text_written.clear()
            jobs = list(self._jobs.values())
            sent = [job.progress() for job in jobs]
            try:
                verdicts = await self._heard("beat", self._queue.beat(self._name, sent))
            except RedisError:
                self._text_written.set()
                await asyncio.sleep(RETRY_S)
                continue
            for job, progress, verdict in zip(jobs, sent, verdicts, strict=True):
                self._heed(job, progress, verdict)
        raise EngineStoppedError(STEP_LOOP_DIED)

    def _heed(self, job: RunningJob, sent: Progress, verdict: int) -> None:
        if verdict == NOT_YOURS:
            if not job.is_ending:
                self._drop(job)
            return
        job.confirm(sent, verdict)
        if verdict < 0:
            self._text_written.set()
        if verdict == CANCEL:
            job.cancelled.set()

    def _start(self, claimed: Claimed) -> None:
        job = RunningJob(claimed)
        self._jobs[job.job_id] = job
        job.task = asyncio.create_task(self._serve(job))

    def _drop(self, job: RunningJob) -> None:
        if job.task is not None:
            job.task.cancel()
        self._forget(job)

    def _forget(self, job: RunningJob) -> None:
        # By now the id may stand for a later attempt of the same job.
        if self._jobs.get(job.job_id) is job:
            del self._jobs[job.job_id]
            self._slot_freed.set()

    async def _serve(self, job: RunningJob) -> None:
        """Run one job to its last word, and free its slot."""
        try:
            await self._bring_to_its_end(job)
        except EngineStoppedError:
            # Its lease lapses, like those of all that this engine holds.
            return
        except Exception:
            log.exception("job=%s: its end could not be written, its lease lapses", job.job_id)
        self._forget(job)

    async def _bring_to_its_end(self, job: RunningJob) -> None:
        claimed = job.claimed
        outcome = await self._outcome_of(job)
        job.is_ending = True
        if await self._finish(job, outcome):
            ending = Ending.of(outcome, queue_ms=claimed.waited_ms, total_ms=job.total_ms)
            log_facts(log, ending.facts(job.job_id, claimed.attempt))
            self._metrics.ended(ending)

    async def _outcome_of(self, job: RunningJob) -> Outcome:
        verifies = job.claimed.job.kind == "verify"
        try:
            return await (self._verify(job) if verifies else self._listen(job))
        except EngineStoppedError:
            raise
        except Exception:
            log.exception("job=%s: it failed", job.job_id)
            doing = "looked at" if verifies else "wrote"
            said = f"Something went wrong in the engine while it {doing} this."
            return Failed(code=ErrorCode.INTERNAL, message=said)

    async def _listen(self, job: RunningJob) -> Done | Failed:
        wanted = job.claimed.job
        try:
            async with contextlib.AsyncExitStack() as stack:
                entering = stack.enter_async_context(self._pool.use(wanted.model))
                # To load it may take minutes.
                engine = await unless(job.cancelled, entering)
                if engine is None:
                    return job.cancelled_unbegun(wanted.model or self._pool.default_name)
                events = engine.generate(
                    wanted.prompt,
                    wanted.params,
                    waited_ms=job.claimed.waited_ms,
                    cancelled=job.cancelled,
                )
                async with contextlib.aclosing(events):
                    async for event in events:
                        if not isinstance(event, Delta):
                            return event
                        job.text += event.text.encode()
                        self._text_written.set()
        except EngineStoppedError:
            raise
        except EngineError as error:
            log.warning("job=%s: no engine for it: %s", job.job_id, error)
            return Failed(code=error.code, message=str(error))
        raise EngineStoppedError(STEP_LOOP_DIED)

    async def _verify(self, job: RunningJob) -> Outcome:
        try:
            found = await unless(job.cancelled, self._verifier.verify(job.claimed.job.prompt))
        except EngineError as error:
            log.warning("job=%s: it cannot be verified: %s", job.job_id, error)
            return Failed(code=error.code, message=str(error))
        return job.cancelled_unbegun(self._pool.default_name) if found is None else found

    async def _finish(self, job: RunningJob, outcome: Outcome) -> bool:
        """Write the last word, as often as it takes. Return False when the job is another's."""
        while True:
            progress = job.progress()
            try:
                finish = self._queue.finish(self._name, progress, outcome)
                verdict = await self._heard("finish", finish)
            except RedisError:
                await asyncio.sleep(RETRY_S)
                continue
            if verdict >= 0:
                return verdict == GO_ON
            job.confirm(progress, verdict)

    async def _wind_down(self, beating: asyncio.Task[None]) -> None:
        tasks = [job.task for job in self._jobs.values() if job.task]
        if tasks:
            await asyncio.wait(tasks, timeout=self._grace_s)
        left = list(self._jobs.values())
        for job in left:
            self._drop(job)
        # A beat that came after the farewell would be a sign of life.
        await cancel(beating)
        # With a Redis that is away their leases lapse, which hands them on as well.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await asyncio.gather(*(self._hand_back(job) for job in left))
                with contextlib.suppress(RedisError):
                    await self._queue.leave(self._name)

    async def _hand_back(self, job: RunningJob) -> None:
        with contextlib.suppress(RedisError):
            await self._queue.release(self._name, job.job_id, job.claimed.attempt)
