"""The queue beside a simple model of it: random calls, losses and damage must agree throughout."""

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.conftest import PATIENCE
from tests.wire import support
from tests.wire.queue_model import Shadow
from tests.wire.support import BOT, make_done, make_job, now_ms
from wire import keys
from wire.connection import connect
from wire.jobs import Done, Failed, FinishReason
from wire.queue import Admission, Bounds, Claimed, JobQueue, JobRecord, JobState, Progress

BOUNDS = Bounds(max_waiting=8, max_unfinished_per_user=4)
USERS = ["ann", "bob", "cat"]
OFFERS = {"e1": ["base", "notes"], "e2": ["base", "rare"]}
"""What each engine has."""
ENGINES = list(OFFERS)
WANTED = [None, None, "base", "notes", "rare"]
INDEXES = [
    *(f"waiting:{user}" for user in USERS),
    *(f"held:{engine}" for engine in ENGINES),
    *("ring", "retry", "lease", "count", "clock", "bell"),
]
PIECES = ["", "a", "öl", "🦉 "]

Rule = Callable[..., None]


def has_some(state: JobState) -> Callable[[Rule], Rule]:
    """Let a rule apply only while there are jobs in this state."""
    return precondition(lambda machine: bool(machine.ids(state)))


class QueueMachine(RuleBasedStateMachine):
    """Calls the queue and its model side by side."""

    url: str
    """Of the server; filled by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis = connect(self.url)
        self.queue = JobQueue(self.redis)
        self.jobs: dict[str, Shadow] = {}
        # What each live engine is known to have; one that only beats may have anything.
        self.offers: dict[str, list[str] | None] = {}
        self.do(self.redis.flushall())

    def do(self, work: Any) -> Any:
        async def main() -> Any:
            return await work

        return self.runner.run(main())

    def read_all(self) -> list[JobRecord | None]:
        async def main() -> list[JobRecord | None]:
            return await asyncio.gather(*map(self.queue.snapshot, self.jobs))

        return self.runner.run(main())

    def tick(self) -> None:
        self.do(self.queue.tick())

    def ids(self, state: JobState, engine: str | None = None) -> list[str]:
        return [
            job_id
            for job_id, job in self.jobs.items()
            if job.state is state and engine in (None, job.engine)
        ]

    def some(self, data: st.DataObject, state: JobState) -> tuple[str, Shadow]:
        job_id = data.draw(st.sampled_from(self.ids(state)))
        return job_id, self.jobs[job_id]

    @rule(user=st.sampled_from(USERS), model=st.sampled_from(WANTED))
    def submit(self, user: str, model: str | None) -> None:
        job_id = f"j{len(self.jobs)}"
        unfinished = [job for job in self.jobs.values() if job.state is not JobState.ENDED]
        expected = Admission.OK
        if self.offers and not any(
            models is None or model in (None, *models) for models in self.offers.values()
        ):
            expected = Admission.NO_MODEL
        elif sum(job.user == user for job in unfinished) >= BOUNDS.max_unfinished_per_user:
            expected = Admission.BUSY_USER
        elif len(self.ids(JobState.WAITING)) >= BOUNDS.max_waiting:
            expected = Admission.BUSY
        answer = self.do(self.queue.submit(make_job(job_id, user, model=model), BOUNDS))
        assert answer.admission is expected
        assert answer.num_waiting == len(self.ids(JobState.WAITING))
        if expected is Admission.OK:
            self.jobs[job_id] = Shadow(user, model)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def submit_again(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.jobs)))
        answer = self.do(self.queue.submit(make_job(job_id, "somebody"), BOUNDS))
        assert answer.admission is Admission.DUPLICATE

    @rule(engine=st.sampled_from(ENGINES), num_free=st.integers(0, 4), forgetful=st.booleans())
    def claim(self, engine: str, num_free: int, forgetful: bool) -> None:
        held = self.ids(JobState.RUNNING, engine)
        named = [] if forgetful else held
        models = OFFERS.get(engine, ["base", "notes", "rare"])
        claimed = self.do(self.queue.claim(engine, models, num_free, named))
        self.offers[engine] = models
        again = []
        for job_id in held:
            if forgetful and self.jobs[job_id].beaten:
                self.jobs[job_id].lose()
            elif forgetful:
                again.append(job_id)
        assert [each.job.job_id for each in claimed[: len(again)]] == sorted(again)
        self.check_new(engine, models, claimed[len(again) :], num_free - len(again))

    def check_new(self, engine: str, models: list[str], new: list[Claimed], num_free: int) -> None:
        waiting = [self.jobs[job_id] for job_id in self.ids(JobState.WAITING)]
        waiting = [job for job in waiting if job.suits(models)]
        running = [self.jobs[job_id] for job_id in self.ids(JobState.RUNNING, engine)]
        num_suspects = 0
        if num_free > 0 and not any(job.suspect for job in running):
            num_suspects = min(1, sum(job.suspect for job in waiting))
        num_fresh = min(max(0, num_free - num_suspects), sum(not job.suspect for job in waiting))
        assert [each.suspect for each in new] == [True] * num_suspects + [False] * num_fresh
        for each in new:
            job = self.jobs[each.job.job_id]
            assert job.state is JobState.WAITING
            assert job.suspect is each.suspect
            assert job.suits(models)
            job.start(engine)
            assert each.attempt == job.attempt

    @has_some(JobState.RUNNING)
    @rule(data=st.data(), piece=st.sampled_from(PIECES), back=st.integers(0, 3))
    def beat(self, data: st.DataObject, piece: str, back: int) -> None:
        job_id, job = self.some(data, JobState.RUNNING)
        sent = job.text[len(job.text) - min(back, len(job.text)) :] + piece
        offset = len((job.text + piece).encode()) - len(sent.encode())
        [verdict] = self.do(
            self.queue.beat(str(job.engine), [Progress(job_id, job.attempt, offset, sent)])
        )
        assert verdict == (2 if job.cancel else 1)
        self.offers.setdefault(str(job.engine), None)
        job.text += piece
        job.beaten = True

    @has_some(JobState.RUNNING)
    @rule(data=st.data(), wrong=st.sampled_from(["engine", "attempt", "gap"]))
    def beat_wrongly(self, data: st.DataObject, wrong: str) -> None:
        job_id, job = self.some(data, JobState.RUNNING)
        length = len(job.text.encode())
        engine = "other" if wrong == "engine" else str(job.engine)
        attempt = job.attempt - 1 if wrong == "attempt" else job.attempt
        offset = length + 1 if wrong == "gap" else length
        progress = Progress(job_id, attempt, offset, "wrong")
        expected = -(1 + length) if wrong == "gap" else 0
        assert self.do(self.queue.beat(engine, [progress])) == [expected]
        self.offers.setdefault(engine, None)
        job.beaten = job.beaten or wrong == "gap"
        assert self.do(self.queue.finish(engine, progress, make_done())) == expected

    @has_some(JobState.RUNNING)
    @rule(data=st.data(), piece=st.sampled_from(PIECES), times=st.integers(1, 2))
    def finish(self, data: st.DataObject, piece: str, times: int) -> None:
        job_id, job = self.some(data, JobState.RUNNING)
        last = Progress(job_id, job.attempt, len(job.text.encode()), piece)
        for _ in range(times):
            assert self.do(self.queue.finish(str(job.engine), last, make_done())) == 1
        job.text += piece
        job.end("length")

    @has_some(JobState.RUNNING)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        job_id, job = self.some(data, JobState.RUNNING)
        assert self.do(self.queue.release(str(job.engine), job_id, job.attempt)) is True
        job.give_back()

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.jobs)))
        job = self.jobs[job_id]
        assert self.do(self.queue.cancel(job_id)) is (job.state is not JobState.ENDED)
        if job.state is JobState.WAITING:
            job.end("cancelled")
        job.cancel = job.cancel or job.state is JobState.RUNNING or job.ending == "cancelled"

    @rule(engine=st.sampled_from(ENGINES))
    def leave(self, engine: str) -> None:
        self.do(self.queue.leave(engine))
        self.offers.pop(engine, None)
        for job_id in self.ids(JobState.RUNNING, engine):
            job = self.jobs[job_id]
            if job.beaten:
                job.lose()
            else:
                job.give_back()

    @has_some(JobState.RUNNING)
    @rule(data=st.data())
    def lapse(self, data: st.DataObject) -> None:
        job_id, job = self.some(data, JobState.RUNNING)
        self.do(support.lapse(self.redis, job_id))
        self.tick()
        job.lose()

    @has_some(JobState.WAITING)
    @rule(data=st.data())
    def pass_deadline(self, data: st.DataObject) -> None:
        job_id, job = self.some(data, JobState.WAITING)
        self.do(support.expire(self.redis, job_id))
        self.tick()
        job.end("late")

    @rule()
    def redis_was_away(self) -> None:
        for job_id in self.ids(JobState.RUNNING):
            self.do(self.redis.zadd("{ovid:0}:lease", {job_id: 1}))
        then = self.do(now_ms(self.redis)) - 2 * keys.FREEZE_GAP_MS
        self.do(self.redis.set("{ovid:0}:clock", then))
        self.do(self.redis.script_flush())
        self.tick()

    @rule(names=st.sets(st.sampled_from(INDEXES), min_size=1))
    def lose_indexes(self, names: set[str]) -> None:
        self.do(self.redis.delete(*(f"{{ovid:0}}:{name}" for name in names)))
        self.tick()

    @invariant()
    def records_agree(self) -> None:
        for (job_id, job), record in zip(self.jobs.items(), self.read_all(), strict=True):
            assert record is not None
            assert (record.state, record.attempt) == (job.state, job.attempt), job_id
            assert record.text == job.text, job_id
            assert record.cancel_requested == job.cancel, job_id
            if job.state is JobState.RUNNING:
                assert record.engine == job.engine, job_id
            assert (record.outcome is not None) == (job.state is JobState.ENDED)
            if isinstance(record.outcome, Done):
                cancelled = record.outcome.finish_reason is FinishReason.CANCELLED
                assert job.ending == ("cancelled" if cancelled else "length")
            if isinstance(record.outcome, Failed):
                lost = record.outcome.code.value == "engine_lost"
                assert job.ending == ("engine_lost" if lost else "late")

    def teardown(self) -> None:
        try:
            self.serve_to_the_end()
        finally:
            self.do(self.redis.aclose())
            self.runner.close()

    def serve_to_the_end(self) -> None:
        for engine in ENGINES:
            self.leave(engine)
        for number in range(len(self.jobs) + 1):
            engine = f"last{number}"
            self.claim(engine, 4, forgetful=False)
            for job_id in self.ids(JobState.RUNNING):
                job = self.jobs[job_id]
                last = support.finish(self.queue, job_id, engine=engine, attempt=job.attempt)
                assert self.do(last) == 1
                job.end("length")
        self.records_agree()
        assert self.do(self.queue.own(BOT)) == set(self.jobs)
        for job_id, job in self.jobs.items():
            assert job.state is JobState.ENDED
            self.do(self.queue.shown(BOT, job_id))
        assert self.do(support.leftovers(self.redis)) == []


def test_the_queue_agrees_with_its_model(redis_server):
    class Machine(QueueMachine):
        url = redis_server.url + PATIENCE

    bounds = settings(max_examples=40, stateful_step_count=30)
    run_state_machine_as_test(Machine, settings=bounds)
