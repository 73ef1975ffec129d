"""Owns fine-tuning jobs: which waits, which runs, how each ended. One trains at a time.

A job is a process of its own (`python -m engine finetune`), so training can neither stop nor crash
the replies. Jobs are kept on disk: after a restart those that waited wait again, and one that ran
goes on from its last checkpoint, unless its server has died under it too often.
"""

import asyncio
import contextlib
import logging
import secrets
import shutil
import time
from pathlib import Path

from engine.http_api.bodies import FineTuningRequest, Hyperparameters
from engine.http_api.errors import ApiError
from engine.http_api.files import FileStore
from engine.http_api.job_records import Job, JobStore
from engine.http_api.training_process import TrainingProcess, end_orphan
from engine.loading import model_folders

log = logging.getLogger(__name__)

BASE_LEARNING_RATE = 3e-4
"""What `learning_rate_multiplier` multiplies: the default of `finetune`."""
FOLLOW_S = 0.5
"""How often the loss log of a running job is read."""
MAX_ATTEMPTS = 3
"""A job under which so many servers have died is given up."""
MAX_NAME_CHARS = 64
"""As `wire.jobs.Id`."""


class FineTuning:
    """Run jobs, the oldest first. Open it before use; close it to stop what runs.

    Args:
        folder: where jobs are kept.
        models: folder of the models.
        files: the training files.
        extra_arguments: that every process gets.
    """

    def __init__(
        self, folder: Path, models: Path, files: FileStore, extra_arguments: tuple[str, ...]
    ) -> None:
        self.jobs = JobStore(folder)
        self._folder = folder
        self._models = models
        self._files = files
        self._extra_arguments = extra_arguments
        self._news = asyncio.Event()
        self._running: tuple[Job, TrainingProcess] | None = None
        self._work: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read the jobs that are kept, take up those that are unfinished, and begin to work."""
        await asyncio.to_thread(self.jobs.open)
        for job in self.jobs.newest_first():
            if job.status == "running" or self._pid_file(job).exists():
                await self._take_up(job)
        self._work = asyncio.create_task(self._run_jobs())

    async def close(self) -> None:
        """Stop the process that runs; its job goes on when the server is started again."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        if self._running is None:
            return
        job, process = self._running
        await process.stop()
        if self._has_ended(job):
            await asyncio.to_thread(self._tidy, job)
        elif process.has_finished():
            self._conclude(job, process, 0)
        else:
            # Ended in good order, which counts as no attempt.
            changes = {"status": "queued", "num_attempts": job.num_attempts - 1}
            self.jobs.put(job.model_copy(update=changes))
            self.jobs.say(job, "The server was stopped; the job goes on when it is back.")
        self._pid_file(job).unlink(missing_ok=True)

    def needs(self, file_id: str) -> bool:
        """Return whether an unfinished job trains on a file."""
        return any(
            job.training_file == file_id for job in self.jobs.newest_first() if job.is_unfinished
        )

    def create(self, wanted: FineTuningRequest, base: str) -> Job:
        """Put a job into the line.

        Args:
            wanted: what the caller asks for; its training file exists.
            base: the model to start from, by its one name.

        Raises:
            ApiError: the base is not below the models' folder, or the new name cannot be had.
        """
        if base not in model_folders(self._models):
            msg = f"The model {base} is not in the folder of the models, so it cannot be trained."
            raise ApiError(400, msg, param="model")
        job_id = f"ftjob-{secrets.token_hex(12)}"
        job = Job(
            id=job_id,
            created_at=time.time(),
            model=base,
            training_file=wanted.training_file,
            name=self._new_name(base, wanted.suffix or job_id.removeprefix("ftjob-")),
            suffix=wanted.suffix,
            hyperparameters=wanted.training,
            seed=secrets.randbelow(2**31) if wanted.seed is None else wanted.seed,
            metadata=wanted.metadata,
        )
        self.jobs.put(job)
        self.jobs.say(job, f"The job was created; its model will be {job.name}.")
        self._news.set()
        return job

    def cancel(self, job: Job) -> Job:
        """End a job that is unfinished; its process is told to end, and made to a while later.

        Raises:
            ApiError: it has ended already.
        """
        if not job.is_unfinished:
            msg = f"The job {job.id} has already {_ended(job)}."
            raise ApiError(400, msg, code="job_has_ended")
        cancelled = self._end(job, "cancelled", "The job was cancelled.")
        if self._running is not None and self._running[0].id == job.id:
            self._stopping = asyncio.create_task(self._running[1].stop())
        return cancelled

    def _new_name(self, base: str, suffix: str) -> str:
        name = f"ft-{base}-{suffix}"
        if len(name) > MAX_NAME_CHARS:
            msg = (
                f"suffix is too long: the model would be called {name}, which is {len(name)} "
                f"characters, and at most {MAX_NAME_CHARS} are taken."
            )
            raise ApiError(400, msg, param="suffix")
        taken = {job.name for job in self.jobs.newest_first() if job.is_unfinished}
        if name in taken | model_folders(self._models).keys():
            msg = f"There is a model {name} already: choose another suffix."
            raise ApiError(400, msg, param="suffix")
        return name

    async def _take_up(self, job: Job) -> None:
        """Kill what an earlier server left running, and put its job back into the line."""
        with contextlib.suppress(OSError, ValueError):
            await end_orphan(int(self._pid_file(job).read_text("ascii")), job.name)
        if not job.is_unfinished:
            # The server died before it had cleared away.
            await asyncio.to_thread(self._tidy, job)
            self._pid_file(job).unlink(missing_ok=True)
            return
        if job.num_attempts >= MAX_ATTEMPTS:
            said = f"The server ended {MAX_ATTEMPTS} times while this job ran."
            self._end(job, "failed", said)
            return
        self.jobs.put(job.model_copy(update={"status": "queued"}))
        self.jobs.say(job, "The server was restarted; the job goes on.", level="warn")

    async def _run_jobs(self) -> None:
        while True:
            self._news.clear()
            waiting = [job for job in self.jobs.newest_first() if job.status == "queued"]
            if not waiting:
                await self._news.wait()
                continue
            job = waiting[-1]
            try:
                await self._run(job)
            except ApiError as error:
                self._end(job, "failed", str(error))
            except Exception:
                log.exception("job %s could not be run", job.id)
                if self._running is not None:
                    await self._running[1].stop()
                    self._running = None
                said = "The job could not be run; the server's log says why."
                self._end(job, "failed", said)

    async def _run(self, job: Job) -> None:
        job = job.model_copy(update={"status": "running", "num_attempts": job.num_attempts + 1})
        process = TrainingProcess(
            self._arguments(job), self._models / job.name, self._folder / f"{job.id}.stderr"
        )
        self.jobs.put(job)
        if job.num_attempts > 1 and process.has_finished():
            # It outlived its server.
            self._conclude(job, process, 0)
            return
        self._running = job, process
        process_id = await process.start()
        if self._has_ended(job):
            # Cancelled while its process was being made.
            await process.stop()
        self._pid_file(job).write_text(str(process_id), "ascii")
        self.jobs.say(job, "Training has begun.")
        log.info("job %s trains %s on %s", job.id, job.name, job.model)
        status = await self._follow(job, process)
        await asyncio.to_thread(self._tidy, job)
        self._running = None
        self._conclude(job, process, status)

    async def _follow(self, job: Job, process: TrainingProcess) -> int:
        """Turn the rows of the loss log into events until the process ends; return its status."""
        ending = asyncio.ensure_future(process.wait())
        steps = (event.data.get("step", 0.0) for event in self.jobs.events(job.id))
        last_step = int(max(steps, default=0))
        try:
            while True:
                await asyncio.wait((ending,), timeout=FOLLOW_S)
                # Asked first, so that the rows that were written last are read too.
                has_ended = ending.done()
                for row in await asyncio.to_thread(process.losses, last_step):
                    last_step = int(row["step"])
                    self.jobs.say(job, _said_of(row), data=row)
                if has_ended:
                    return ending.result()
        finally:
            ending.cancel()

    def _conclude(self, job: Job, process: TrainingProcess, status: int) -> None:
        self._pid_file(job).unlink(missing_ok=True)
        if status == 0 and not self._has_ended(job):
            job = job.model_copy(update={"trained_tokens": process.trained_tokens()})
            self._end(job, "succeeded", f"The job has succeeded; the new model is {job.name}.")
        elif not self._has_ended(job):
            # All that it said is left for whoever runs the server.
            self._end(job, "failed", process.error(status))
            return
        process.forget()

    def _tidy(self, job: Job) -> None:
        """Delete what a process has left that became no model."""
        if job.name not in model_folders(self._models):
            shutil.rmtree(self._models / job.name, ignore_errors=True)

    def _has_ended(self, job: Job) -> bool:
        now = self.jobs.find(job.id)
        return now is None or not now.is_unfinished

    def _end(self, job: Job, status: str, said: str) -> Job:
        changes = {"status": status, "finished_at": int(time.time())}
        if status == "failed":
            changes["error"] = said
        ended = job.model_copy(update=changes)
        self.jobs.put(ended)
        self.jobs.say(ended, said, level="error" if status == "failed" else "info")
        log.info("job %s %s", job.id, _ended(ended))
        return ended

    def _pid_file(self, job: Job) -> Path:
        return self._folder / f"{job.id}.pid"

    def _arguments(self, job: Job) -> list[str]:
        _, content = self._files.get(job.training_file)
        arguments = [str(content), "--model", job.model, "--name", job.name]
        arguments += ["--models", str(self._models), "--seed", str(job.seed)]
        return arguments + _options(job.hyperparameters) + list(self._extra_arguments)


def _options(asked: Hyperparameters) -> list[str]:
    options: list[str] = []
    if asked.n_epochs != "auto":
        options += ["--epochs", f"{asked.n_epochs:g}"]
    if asked.batch_size != "auto":
        options += ["--batch-size", str(asked.batch_size)]
    if asked.learning_rate_multiplier != "auto":
        rate = BASE_LEARNING_RATE * asked.learning_rate_multiplier
        options += ["--learning-rate", f"{rate:g}"]
    return options


def _said_of(row: dict[str, float]) -> str:
    said = [f"{name} {row[name]:.4f}" for name in ("train_loss", "valid_loss") if name in row]
    return f"Step {row['step']:.0f}: {', '.join(said) or 'no loss was measured'}"


def _ended(job: Job) -> str:
    return "been cancelled" if job.status == "cancelled" else job.status
