"""Fine-tuning jobs over HTTP: started, followed, cancelled, and refused."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.fine_tuning import SupervisedHyperparametersParam

from engine.http_api.fine_tuning import BASE_LEARNING_RATE
from engine.http_api.training_process import read_losses
from engine.train.command import Finetune
from tests.engine.http_api.serving import DEADLINE_S, Served, serving
from tests.engine.http_api.training_jobs import ARGUMENTS, POLL_S, is_alive, pids, until

pytestmark = pytest.mark.usefixtures("training_niceness")

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "openai_client.py"
FOREVER: SupervisedHyperparametersParam = {"n_epochs": 1000}


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
    models: Path, training_file: Path, training_niceness: int
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
        assert os.getpriority(os.PRIO_PROCESS, process_id) == training_niceness
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
