"""Fine-tuning jobs when servers die, processes are killed, and disks are full."""

import asyncio
import errno
import os
import signal
from pathlib import Path

import pytest

from engine.errors import EngineError
from engine.http_api.bodies import FineTuningRequest
from engine.http_api.files import FileStore
from engine.http_api.fine_tuning import MAX_ATTEMPTS, FineTuning
from engine.http_api.job_records import Job
from engine.http_api.training_process import TrainingProcess
from tests.engine.http_api.serving import serving
from tests.engine.http_api.training_jobs import ARGUMENTS, DEADLINE_S, is_alive, pids, until

pytestmark = pytest.mark.usefixtures("training_niceness")


def make_fine_tuning(models: Path, *arguments: str) -> FineTuning:
    files = FileStore(models / ".files")
    files.open()
    return FineTuning(models / ".files" / "jobs", models, files, arguments or ARGUMENTS)


def make_job(fine_tuning: FineTuning, training_file: Path, *, n_epochs: int = 1000) -> Job:
    content = fine_tuning._files.begin("a.jsonl")
    content.write_bytes(training_file.read_bytes())
    file = fine_tuning._files.keep(content, "a.jsonl")
    body = {"model": "tiny", "training_file": file.id, "hyperparameters": {"n_epochs": n_epochs}}
    return fine_tuning.create(FineTuningRequest.model_validate(body), "tiny")


async def test_a_job_whose_server_died_goes_on_and_what_ran_is_killed(
    models: Path, training_file: Path
):
    died = make_fine_tuning(models)
    await died.open()
    job = make_job(died, training_file)
    await until(lambda: pids(models))
    [process_id] = pids(models)
    orphan = await killed(died)

    restarted = make_fine_tuning(models)
    await restarted.open()
    assert await end_of(orphan) == -signal.SIGKILL
    await until(lambda: pids(models) not in ([], [process_id]))
    now = found(restarted, job)
    assert (now.status, now.num_attempts) == ("running", 2)

    # A server that is stopped in good order ends the process itself, and that is no attempt.
    [process_id] = pids(models)
    await restarted.close()
    assert not is_alive(process_id)
    kept = Job.model_validate_json((models / f".files/jobs/{job.id}.json").read_bytes())
    assert (kept.status, kept.num_attempts) == ("queued", 1)
    messages = [event.message for event in restarted.jobs.events(job.id)]
    assert messages.count("Training has begun.") == 2
    assert "The server was restarted; the job goes on." in messages


async def test_a_job_under_which_servers_keep_dying_is_given_up(models: Path, training_file: Path):
    before = make_fine_tuning(models)
    before.jobs.open()
    job = make_job(before, training_file)
    unlucky = {"status": "running", "num_attempts": MAX_ATTEMPTS}
    before.jobs.put(job.model_copy(update=unlucky))

    fine_tuning = make_fine_tuning(models)
    await fine_tuning.open()
    now = found(fine_tuning, job)
    assert now.status == "failed"
    assert now.error == "The server ended 3 times while this job ran."
    await fine_tuning.close()


async def killed(fine_tuning: FineTuning) -> TrainingProcess:
    """Do as a server that is killed: nothing more. Return the process that it leaves behind."""
    assert fine_tuning._work is not None
    assert fine_tuning._running is not None
    fine_tuning._work.cancel()
    await asyncio.gather(fine_tuning._work, return_exceptions=True)
    return fine_tuning._running[1]


async def end_of(process: TrainingProcess) -> int:
    """Wait for it, so that it is not forgotten with the event loop that started it."""
    async with asyncio.timeout(DEADLINE_S):
        return await process.wait()


def found(fine_tuning: FineTuning, job: Job) -> Job:
    now = fine_tuning.jobs.find(job.id)
    assert now is not None
    return now


async def test_a_job_that_outlived_its_server_has_succeeded(models: Path, training_file: Path):
    died = make_fine_tuning(models)
    await died.open()
    job = make_job(died, training_file, n_epochs=1)
    await until(lambda: pids(models))
    assert await end_of(await killed(died)) == 0

    restarted = make_fine_tuning(models)
    await restarted.open()
    await until(lambda: not found(restarted, job).is_unfinished)
    now = found(restarted, job)
    assert (now.status, now.error) == ("succeeded", None)
    assert now.trained_tokens
    assert pids(models) == []
    await restarted.close()


async def test_what_a_dead_server_left_running_is_killed_though_its_options_were_others(
    models: Path, training_file: Path
):
    died = make_fine_tuning(models)
    await died.open()
    job = make_job(died, training_file)
    await until(lambda: pids(models))
    orphan = await killed(died)
    # Nobody was left to end the process of a job that had just been cancelled.
    died.jobs.put(found(died, job).model_copy(update={"status": "cancelled"}))

    restarted = make_fine_tuning(models, "--device", "cpu", "--threads", "2")
    await restarted.open()
    assert await end_of(orphan) == -signal.SIGKILL
    assert pids(models) == []
    assert not (models / job.name).exists()
    assert found(restarted, job).status == "cancelled"
    await restarted.close()


async def test_a_process_that_is_killed_by_others_is_a_job_that_failed(
    models: Path, training_file: Path
):
    fine_tuning = make_fine_tuning(models)
    await fine_tuning.open()
    job = make_job(fine_tuning, training_file)
    await until(lambda: pids(models))
    os.kill(pids(models)[0], signal.SIGKILL)
    await until(lambda: not found(fine_tuning, job).is_unfinished)
    now = found(fine_tuning, job)
    assert now.status == "failed"
    assert now.error is not None
    assert "was killed (SIGKILL)" in now.error
    assert not (models / job.name).exists()
    await fine_tuning.close()


async def test_a_disk_that_is_full_ends_a_job_and_not_the_work(
    models: Path, training_file: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(path: Path, record: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    fine_tuning = make_fine_tuning(models)
    fine_tuning.jobs.open()
    first = make_job(fine_tuning, training_file)
    with monkeypatch.context() as patch:
        patch.setattr("engine.http_api.job_records.write_record", full)
        patch.setattr("engine.http_api.fine_tuning.TrainingProcess", no_process)
        await fine_tuning.open()
        await until(lambda: not found(fine_tuning, first).is_unfinished)
    assert found(fine_tuning, first).status == "failed"
    second = make_job(fine_tuning, training_file)
    await until(lambda: found(fine_tuning, second).status == "running")
    await fine_tuning.close()


def no_process(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_of_a_long_job_the_newest_events_are_kept(
    models: Path, training_file: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("engine.http_api.job_records.MAX_EVENTS", 3)
    fine_tuning = make_fine_tuning(models)
    fine_tuning.jobs.open()
    job = make_job(fine_tuning, training_file)
    for step in range(5):
        fine_tuning.jobs.say(job, f"Step {step}")
    restarted = make_fine_tuning(models)
    restarted.jobs.open()
    for store in (fine_tuning.jobs, restarted.jobs):
        assert [event.message for event in store.events(job.id)] == ["Step 4", "Step 3", "Step 2"]
    log = models / ".files" / "jobs" / f"{job.id}.events.jsonl"
    assert len(log.read_text(encoding="utf-8").splitlines()) == 6


async def test_two_servers_do_not_share_their_jobs(models: Path):
    async with serving(models):
        with pytest.raises(EngineError, match="Another HTTP server keeps its files in"):
            async with serving(models):
                pass
    async with serving(models) as served:
        assert [job async for job in served.openai.fine_tuning.jobs.list()] == []
