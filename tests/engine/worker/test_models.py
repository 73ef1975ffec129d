"""The worker and its models: which job it takes, and what goes on while one is loaded."""

import asyncio
import threading
import time
from pathlib import Path

import pytest
from redis.asyncio import Redis

from engine import model_pool
from engine.errors import ModelError
from tests.engine.pools import FakeLoader, make_pool, write_model
from tests.engine.serving import (
    DEADLINE_S,
    POLL_S,
    ended,
    has_text,
    running_worker,
    serving,
    submit,
    until,
)
from tests.engine.support import forever_a, replies
from tests.wire.support import (
    PREFIX,
    ROOMY,
    expire,
    make_job,
    record_of,
)
from wire.jobs import Done, ErrorCode, Failed, FinishReason, Job
from wire.queue import Admission, JobQueue, JobState


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
