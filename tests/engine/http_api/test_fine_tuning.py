"""Fine-tuning jobs: processes that are started, followed, stopped, and taken up again."""

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.fine_tuning import SupervisedHyperparametersParam

from engine.errors import EngineError
from engine.http_api.bodies import FineTuningRequest
from engine.http_api.files import FileStore
from engine.http_api.fine_tuning import BASE_LEARNING_RATE, MAX_ATTEMPTS, FineTuning
from engine.http_api.job_records import Job
from engine.http_api.training_process import read_losses
from engine.train.command import Finetune
from tests.engine.http_api.serving import DEADLINE_S, Served, serving

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "openai_client.py"
POLL_S = 0.02
FOREVER: SupervisedHyperparametersParam = {"n_epochs": 1000}

ARGUMENTS = ("--device", "cpu", "--threads", "1")


@pytest.fixture
def training_file(tmp_path: Path) -> Path:
    path = tmp_path / "counting.jsonl"
    lines = (json.dumps({"text": f"{number} green bottles"}) + "\n" for number in range(40))
    path.write_text("".join(lines), encoding="utf-8")
    return path


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(POLL_S)


def is_alive(process_id: int) -> bool:
    """Whether a process runs; one that has ended and was not asked for yet does not."""
    try:
        status = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def pids(models: Path) -> list[int]:
    found = (models / ".files" / "jobs").glob("*.pid")
    return [int(text) for path in found if (text := path.read_text(encoding="ascii"))]


async def test_the_example_queries_streams_and_trains_a_model_that_answers_at_once(
    models: Path, training_file: Path
):
    token = "a-token"
    async with serving(models, token=token, finetune_args=ARGUMENTS) as served:
        example = await asyncio.create_subprocess_exec(
            *(sys.executable, str(EXAMPLE), "--url", f"{served.url}/v1", "--prompt", "1 green"),
            *("--train", str(training_file), "--epochs", "3"),
            env={**os.environ, "OPENAI_API_KEY": token},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        async with asyncio.timeout(DEADLINE_S * 2):
            said = (await example.communicate())[0].decode()
        assert example.returncode == 0, said
        [job] = [job async for job in served.openai.fine_tuning.jobs.list()]
        name = f"ft-tiny-{job.id.removeprefix('ftjob-')}"
        assert (job.status, job.model, job.fine_tuned_model) == ("succeeded", "tiny", name)
        assert job.hyperparameters.n_epochs == 3
        assert job.trained_tokens is not None
        assert job.trained_tokens > 500
        assert job.finished_at is not None
        assert job.finished_at >= job.created_at
        assert job.error is None
        assert f"the new model is {name}" in said
        assert "[machine-generated: GPT-2 tiny]" in said
        await check_events(served, job.id, said)
        assert [model.id async for model in served.openai.models.list()] == ["tiny", name]
        completion = await served.openai.completions.create(model=name, prompt="1 green")
        assert completion.model == name
        # The example has deleted its file, and nothing of the training is left but its result.
        assert [file async for file in served.openai.files.list()] == []
        assert not (models / name / ".train").exists()
    jobs = models / ".files" / "jobs"
    assert {path.name for path in jobs.iterdir()} == {f"{job.id}.json", f"{job.id}.events.jsonl"}


async def check_events(served: Served, job_id: str, said: str) -> None:
    """All events, over pages, are those that were shown, and the losses are measured."""
    pages = await served.openai.fine_tuning.jobs.list_events(job_id, limit=4)
    events = [event async for event in pages]
    assert [event.message in said for event in events] == [True] * len(events)
    assert events[0].message.startswith("The job has succeeded")
    assert events[-1].message.startswith("The job was created")
    measured = [event.data for event in events if event.type == "metrics"]
    assert measured
    steps = [data["step"] for data in measured if isinstance(data, dict)]
    assert steps == sorted(set(steps), reverse=True)
    last = measured[0]
    assert isinstance(last, dict)
    assert 0 < last["train_loss"] < 20
    checkpoints = await served.openai.fine_tuning.jobs.checkpoints.list(job_id)
    assert checkpoints.data == []


async def test_a_job_that_is_cancelled_is_killed_and_leaves_no_model(
    models: Path, training_file: Path
):
    async with serving(models, finetune_args=ARGUMENTS) as served:
        jobs = served.openai.fine_tuning.jobs
        file = await served.openai.files.create(file=training_file, purpose="fine-tune")
        first, second = [
            await jobs.create(
                model="tiny",
                training_file=file.id,
                suffix=suffix,
                method={"type": "supervised", "supervised": {"hyperparameters": FOREVER}},
                metadata={"for": "a test"},
            )
            for suffix in ("a", "b")
        ]
        await until(lambda: pids(models))
        [process_id] = pids(models)
        assert (await jobs.retrieve(first.id)).status == "running"
        assert (await jobs.retrieve(second.id)).status == "queued"
        assert [job.id async for job in jobs.list(limit=1)] == [second.id, first.id]
        with pytest.raises(openai.ConflictError, match="being trained on"):
            await served.openai.files.delete(file.id)
        with pytest.raises(openai.BadRequestError, match="There is a model ft-tiny-a already"):
            await jobs.create(model="tiny", training_file=file.id, suffix="a")
        # The one in the line never runs; the other's process ends.
        assert (await jobs.cancel(second.id)).status == "cancelled"
        cancelled = await jobs.cancel(first.id)
        assert (cancelled.status, cancelled.metadata) == ("cancelled", {"for": "a test"})
        assert cancelled.hyperparameters.n_epochs == FOREVER["n_epochs"]
        with pytest.raises(openai.BadRequestError, match="already been cancelled") as caught:
            await jobs.cancel(first.id)
        assert caught.value.code == "job_has_ended"
        await until(lambda: not is_alive(process_id) and not pids(models))
        await until(lambda: not (models / "ft-tiny-a").exists())
        assert (await served.openai.files.delete(file.id)).deleted
        assert (await jobs.retrieve(first.id)).fine_tuned_model is None


async def test_a_job_that_fails_says_why_in_the_words_of_its_process(models: Path):
    async with serving(models, finetune_args=("--device", "cpu", "--warmup-steps", "-1")) as served:
        file = await served.openai.files.create(file=("a.txt", b"text"), purpose="fine-tune")
        job = await served.openai.fine_tuning.jobs.create(model="tiny", training_file=file.id)
        async with asyncio.timeout(DEADLINE_S):
            while job.status in ("queued", "running"):
                await asyncio.sleep(POLL_S)
                job = await served.openai.fine_tuning.jobs.retrieve(job.id)
        assert job.status == "failed"
        assert job.error is not None
        assert "warmup_steps" in job.error.message
        assert not job.error.message.startswith("finetune:")
        events = await served.openai.fine_tuning.jobs.list_events(job.id)
        assert (events.data[0].level, events.data[0].message) == ("error", job.error.message)


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
    [orphan] = pids(models)
    await killed(died)

    restarted = make_fine_tuning(models)
    await restarted.open()
    await until(lambda: not is_alive(orphan))
    await until(lambda: pids(models) not in ([], [orphan]))
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


async def killed(fine_tuning: FineTuning) -> None:
    """What a server that is killed does: nothing more."""
    assert fine_tuning._work is not None
    fine_tuning._work.cancel()
    await asyncio.gather(fine_tuning._work, return_exceptions=True)


def found(fine_tuning: FineTuning, job: Job) -> Job:
    now = fine_tuning.jobs.find(job.id)
    assert now is not None
    return now


async def test_a_job_that_outlived_its_server_has_succeeded(models: Path, training_file: Path):
    died = make_fine_tuning(models)
    await died.open()
    job = make_job(died, training_file, n_epochs=1)
    await until(lambda: pids(models))
    [orphan] = pids(models)
    await killed(died)
    await until(lambda: not is_alive(orphan))

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
    [orphan] = pids(models)
    await killed(died)
    # Nobody was left to end the process of a job that had just been cancelled.
    died.jobs.put(found(died, job).model_copy(update={"status": "cancelled"}))

    restarted = make_fine_tuning(models, "--device", "cpu", "--threads", "2")
    await restarted.open()
    assert not is_alive(orphan)
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


def test_a_loss_that_is_no_number_is_left_out():
    # JSON has no word for it, so that no client could read the events.
    log = "step,loss,held_out_loss\n1,nan,2.5\n2,inf,\n"
    assert read_losses(log, 0) == [{"step": 1.0, "valid_loss": 2.5}, {"step": 2.0}]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"suffix": "has space"}, "suffix: string should match pattern"),
        ({"suffix": "x" * 41}, "suffix: string should have at most 40 characters"),
        ({"suffix": "taken"}, "There is a model ft-tiny-taken already: choose another suffix."),
        ({"validation_file": "file-1"}, "validation_file is not supported: leave it out."),
        ({"integrations": [{}]}, "integrations is not supported: leave it out."),
        ({"method": {"type": "dpo"}}, "method.type: input should be 'supervised', not 'dpo'."),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"beta": 1}}, "hyperparameters.beta: extra inputs are not permitted"),
        ({"seed": -1}, "seed: input should be greater than or equal to 0, not -1."),
    ],
    ids=repr,
)
async def test_a_job_that_cannot_be_run_is_refused(
    served: Served, models: Path, fields: dict[str, Any], said: str
):
    taken = models / "ft-tiny-taken"
    taken.mkdir()
    (taken / "config.json").write_text("{}", encoding="utf-8")
    file = await served.openai.files.create(file=("a.txt", b"text"), purpose="fine-tune")
    body = {"model": "tiny", "training_file": file.id, **fields}
    status, answer = await served.post("/v1/fine_tuning/jobs", **body)
    assert status == 400
    assert answer["error"]["message"].startswith(said)
    assert [job async for job in served.openai.fine_tuning.jobs.list()] == []


async def test_a_model_whose_name_would_be_too_long_is_refused(served: Served, models: Path):
    base = "b" * 40
    (models / "tiny").rename(models / base)
    file = await served.openai.files.create(file=("a.txt", b"text"), purpose="fine-tune")
    body = {"model": base, "training_file": file.id}
    status, answer = await served.post("/v1/fine_tuning/jobs", **body)
    assert status == 400
    assert "at most 64 are taken" in answer["error"]["message"]


def test_the_multiplier_multiplies_what_finetune_would_take():
    assert Finetune.model_fields["learning_rate"].default == BASE_LEARNING_RATE
