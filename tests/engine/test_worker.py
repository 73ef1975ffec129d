"""The Redis door: a real queue on a real server, a real engine thread, and a fake model."""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from engine import model_pool
from engine.async_engine import AsyncEngine
from engine.errors import EngineStoppedError, ModelError
from engine.running_job import RunningJob
from sandbox.redis_server import RedisServer
from tests.engine.pools import FakeLoader, make_pool, write_model
from tests.engine.serving import (
    DEADLINE_S,
    POLL_S,
    EndlessQueue,
    Gate,
    ended,
    has_text,
    running_worker,
    serving,
    submit,
    until,
)
from tests.engine.support import forever_a, replies
from tests.wire.support import (
    MODELS,
    PREFIX,
    ROOMY,
    expire,
    lapse,
    make_done,
    make_job,
    record_of,
)
from wire.connection import connect
from wire.jobs import Done, ErrorCode, Failed, FinishReason, Job, Outcome
from wire.queue import Admission, Claimed, JobQueue, JobState, Progress


@pytest.fixture
def queue(redis: Redis) -> JobQueue:
    return EndlessQueue(redis)


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


async def test_a_job_gets_the_model_it_names_and_one_that_names_none_the_default(queue: JobQueue):
    models = {"tiny": replies({"hi": "I am tiny"}), "notes": replies({"hi": "I am notes"})}
    await submit(queue, "1", "hi", model="notes")
    await submit(queue, "2", "hi", model="tiny")
    await submit(queue, "3", "hi")
    async with serving(queue, models):
        records = [await ended(queue, job_id) for job_id in "123"]
    assert [record.text for record in records] == ["I am notes", "I am tiny", "I am tiny"]
    assert [record.model_name for record in records] == ["notes", "tiny", "tiny"]
    done = [record.outcome for record in records if isinstance(record.outcome, Done)]
    assert [outcome.model_name for outcome in done] == ["notes", "tiny", "tiny"]


async def test_a_job_for_a_model_that_is_elsewhere_is_left_in_line(queue: JobQueue):
    await submit(queue, "1", "hi", model="elsewhere")
    await submit(queue, "2", "hi")
    async with serving(queue, replies({"hi": "x"})):
        assert (await ended(queue, "2")).text == "x"
        assert (await record_of(queue, "1")).state is JobState.WAITING
    async with serving(queue, {"elsewhere": replies({"hi": "there"})}, name="e2"):
        assert (await ended(queue, "1")).text == "there"


async def test_a_model_that_appears_while_the_worker_runs_is_offered_and_served(
    queue: JobQueue, tmp_path: Path
):
    write_model(tmp_path, "tiny")
    load = FakeLoader({"tiny": forever_a, "notes": replies({"hi": "new"})})
    async with running_worker(queue, make_pool(tmp_path, load)):
        refused = await until_admitted(queue, make_job("1", model="notes", prompt="hi"), 0)
        assert refused is Admission.NO_MODEL
        write_model(tmp_path, "notes")
        await until_admitted(queue, make_job("2", model="notes", prompt="hi"), DEADLINE_S)
        assert (await ended(queue, "2")).text == "new"


async def until_admitted(queue: JobQueue, job: Job, within_s: float) -> Admission:
    """Submit a job until it is taken or the time is up, as soon as an engine is there."""

    async def lives() -> bool:
        return (await queue.tick()).num_engines > 0

    await until(lives)
    until_s = time.monotonic() + within_s
    while True:
        admission = (await queue.submit(job, ROOMY)).admission
        if admission is Admission.OK or time.monotonic() > until_s:
            return admission
        await asyncio.sleep(POLL_S)


class DamagedModel(FakeLoader):
    def check(self, folder: Path) -> None:
        if folder.name == "damaged":
            raise ModelError("damaged: a tensor is missing")


async def test_a_model_that_cannot_be_loaded_fails_its_job_with_the_sentence(
    queue: JobQueue, tmp_path: Path
):
    write_model(tmp_path, "tiny")
    write_model(tmp_path, "damaged")
    await submit(queue, "1", "hi", model="damaged")
    await submit(queue, "2", "hi")
    load = DamagedModel({"tiny": replies({"hi": "x"})})
    async with running_worker(queue, make_pool(tmp_path, load)):
        failed, written = [await ended(queue, job_id) for job_id in "12"]
    assert failed.outcome == Failed(code=ErrorCode.INTERNAL, message="damaged: a tensor is missing")
    assert written.text == "x"


async def test_while_a_model_is_loaded_other_replies_flow_and_every_lease_is_renewed(
    queue: JobQueue, redis: Redis, tmp_path: Path
):
    write_model(tmp_path, "tiny")
    write_model(tmp_path, "large")
    load = FakeLoader({"tiny": forever_a, "large": replies({"hi": "at last"})}, pace_s=0.001)
    await submit(queue, "1", "endless")
    async with running_worker(queue, make_pool(tmp_path, load), num_slots=2):
        await has_text(queue, "1")
        load.gate.clear()
        await submit(queue, "2", "hi", model="large", user_id="bob")

        async def is_loading() -> bool:
            return load.num_loading == 1

        await until(is_loading)
        length = len((await record_of(queue, "1")).text)
        await has_text(queue, "1", "a" * (length + 50))

        async def lease_ms() -> float:
            return await redis.zscore(f"{PREFIX}:lease", "2") or 0.0

        before_ms = await lease_ms()

        async def is_renewed() -> bool:
            return await lease_ms() > before_ms

        await until(is_renewed)
        load.gate.set()
        assert (await ended(queue, "2")).text == "at last"


async def test_a_job_stopped_while_its_model_is_loaded_ends_as_cancelled(
    queue: JobQueue, tmp_path: Path
):
    write_model(tmp_path, "tiny")
    write_model(tmp_path, "large")
    load = FakeLoader({"tiny": forever_a, "large": forever_a})
    async with running_worker(queue, make_pool(tmp_path, load)):
        load.gate.clear()
        await submit(queue, "1", "endless", model="large")

        async def is_loading() -> bool:
            return load.num_loading == 1

        await until(is_loading)
        try:
            assert await queue.cancel("1")
            record = await ended(queue, "1")
        finally:
            load.gate.set()
    assert isinstance(record.outcome, Done)
    done = record.outcome
    assert (done.finish_reason, done.model_name) == (FinishReason.CANCELLED, "large")
    assert (done.usage.completion_tokens, done.usage.first_token_ms) == (0, None)


async def test_a_job_whose_time_is_up_while_its_model_is_loaded_gives_its_slot_away(
    queue: JobQueue, redis: Redis, tmp_path: Path
):
    write_model(tmp_path, "tiny")
    write_model(tmp_path, "large")
    load = FakeLoader({"tiny": replies({"hi": "x"}), "large": forever_a})
    async with running_worker(queue, make_pool(tmp_path, load), num_slots=1):
        load.gate.clear()
        await submit(queue, "1", "endless", model="large")

        async def is_loading() -> bool:
            return load.num_loading == 1

        await until(is_loading)
        try:
            await expire(redis, "1")
            await queue.tick()
            await submit(queue, "2", "hi", user_id="bob")
            assert (await ended(queue, "2")).text == "x"
        finally:
            load.gate.set()
        late = await record_of(queue, "1")
    assert isinstance(late.outcome, Failed)
    assert (late.outcome.code, late.attempt) == (ErrorCode.DEADLINE, 1)


async def test_a_stop_while_a_model_is_loaded_hands_its_job_back_and_waits_for_no_load(
    queue: JobQueue, tmp_path: Path
):
    write_model(tmp_path, "tiny")
    write_model(tmp_path, "large")
    load = FakeLoader({"tiny": forever_a, "large": forever_a})
    async with running_worker(queue, make_pool(tmp_path, load)) as running:
        load.gate.clear()
        await submit(queue, "1", "endless", model="large")

        async def is_loading() -> bool:
            return load.num_loading == 1

        await until(is_loading)
        try:
            await running.stopped()
        finally:
            load.gate.set()
    record = await record_of(queue, "1")
    assert (record.state, record.attempt) == (JobState.WAITING, 0)


async def test_a_disk_that_does_not_answer_holds_up_no_reply(
    queue: JobQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_model(tmp_path, "tiny")
    asked, answers = threading.Event(), threading.Event()

    def hangs(models: Path) -> dict[str, Path]:
        asked.set()
        assert answers.wait(DEADLINE_S), "the disk was never let go"
        return {}

    load = FakeLoader({"tiny": forever_a}, pace_s=0.001)
    await submit(queue, "1", "endless")
    async with running_worker(queue, make_pool(tmp_path, load)):
        await has_text(queue, "1")
        monkeypatch.setattr(model_pool, "model_folders", hangs)
        try:

            async def is_asked() -> bool:
                return asked.is_set()

            await until(is_asked)
            length = len((await record_of(queue, "1")).text)
            await has_text(queue, "1", "a" * (length + 50))
        finally:
            answers.set()


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
        return "job 1 attempt 1 stop" in caplog.text

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


async def take_over(queue: JobQueue, redis: Redis, job_id: str) -> Claimed:
    """Become the engine that holds a job: its lease lapses, and we are first to claim it."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            # A beat in between renews the lease; then it is tried again.
            await lapse(redis, job_id)
            for claimed in await queue.claim("other", MODELS, 1, []):
                return claimed


async def test_a_job_that_another_engine_took_is_dropped_without_a_word(
    queue: JobQueue, redis: Redis
):
    await submit(queue, "1", "endless")
    async with serving(queue, forever_a, num_slots=1):
        await has_text(queue, "1")
        claimed = await take_over(queue, redis, "1")
        # The only slot is free again, though nothing could end the first job but being dropped.
        await submit(queue, "2", "hi")
        assert (await ended(queue, "2")).engine == "e1"
        record = await record_of(queue, "1")
        assert (record.state, record.engine, record.text) == (JobState.RUNNING, "other", "")
        progress = Progress("1", claimed.attempt, 0, "by the other")
        assert await queue.finish("other", progress, make_done()) == 1
    record = await record_of(queue, "1")
    assert (record.text, record.outcome) == ("by the other", make_done())


async def test_connections_that_are_cut_lose_nothing(queue: JobQueue, redis: Redis):
    reply = "".join(chr(ord("a") + n % 26) for n in range(900))
    gate = Gate("hi", reply, before=600)
    await submit(queue, "1", "hi")
    async with serving(queue, gate):
        num_cuts = 0
        while (await record_of(queue, "1")).state is not JobState.ENDED:
            await redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            num_cuts += 1
            if num_cuts == 3:
                gate.opened.set()
            await asyncio.sleep(0.1)
        record = await record_of(queue, "1")
    assert (record.text, record.attempt) == (reply, 1)


async def test_a_redis_that_is_killed_and_comes_back_loses_nothing(own_redis_server: RedisServer):
    reply = "before the fall, after the fall"
    gate = Gate("hi", reply, before=16)
    async with connect(own_redis_server.url) as redis:
        queue = EndlessQueue(redis)
        await submit(queue, "1", "hi")
        async with serving(queue, gate):
            await has_text(queue, "1", "before the fall,")
            await own_redis_server.kill()
            # The reply is written to its end while there is nobody to take it.
            gate.opened.set()
            with pytest.raises(RedisError):
                await queue.snapshot("1")
            await own_redis_server.restart()
            record = await ended(queue, "1")
        assert (record.text, record.attempt) == (reply, 1)
        assert isinstance(record.outcome, Done)


async def test_a_worker_serves_on_after_an_outage(own_redis_server: RedisServer):
    async with connect(own_redis_server.url) as redis:
        queue = EndlessQueue(redis)
        async with serving(queue, replies({"hi": "x"})):
            await submit(queue, "1", "hi")
            await ended(queue, "1")
            await own_redis_server.restart()
            await submit(queue, "2", "hi")
            assert (await ended(queue, "2")).text == "x"


async def test_a_worker_can_be_stopped_while_redis_is_away(own_redis_server: RedisServer):
    async with connect(own_redis_server.url) as redis:
        queue = EndlessQueue(redis)
        await submit(queue, "1", "endless")
        async with serving(queue, forever_a) as running:
            await has_text(queue, "1")
            await own_redis_server.kill()
            await running.stopped()


async def test_a_dead_step_loop_ends_the_worker_and_leaves_its_jobs_to_their_leases(
    queue: JobQueue,
):
    def next_token(held: Sequence[int]) -> int:
        if bytes(held).startswith(b"poison"):
            raise RuntimeError("the device is lost")
        return forever_a(held)

    await submit(queue, "1", "endless")
    async with serving(queue, next_token, grace_s=DEADLINE_S) as running:
        await has_text(queue, "1")
        await submit(queue, "2", "poison")
        with pytest.raises(EngineStoppedError, match="step loop has died"):
            async with asyncio.timeout(DEADLINE_S):
                await running.task
        assert not running.pool.is_alive
        for job_id in ("1", "2"):
            record = await record_of(queue, job_id)
            assert (record.state, record.attempt, record.engine) == (JobState.RUNNING, 1, "e1")
            assert record.outcome is None


async def test_a_job_that_breaks_the_worker_itself_is_answered_and_the_others_go_on(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
):
    generate = AsyncEngine.generate

    def broken(self: AsyncEngine, prompt: str, *args: object, **kwargs: object) -> object:
        if prompt == "breaks":
            raise RuntimeError("a mistake of ours")
        return generate(self, prompt, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(AsyncEngine, "generate", broken)
    await submit(queue, "1", "breaks")
    await submit(queue, "2", "hi")
    async with serving(queue, replies({"hi": "x"}), num_slots=1):
        failed, written = [await ended(queue, job_id) for job_id in ("1", "2")]
    assert isinstance(failed.outcome, Failed)
    assert failed.outcome.code is ErrorCode.INTERNAL
    assert "mistake" not in failed.outcome.message
    assert written.text == "x"


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
    assert any("job 1 attempt 1 stop" in record.getMessage() for record in engine_logs)
    assert "secret question" not in caplog.text
    assert "private answer" not in caplog.text
