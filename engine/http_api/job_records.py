"""Owns what is known of a fine-tuning job and how it is kept: a record and a log of events."""

import contextlib
import logging
import secrets
import time
from collections import deque
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from engine.http_api.bodies import Hyperparameters
from engine.http_api.records import write_record

log = logging.getLogger(__name__)

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
UNFINISHED = ("queued", "running")
MAX_EVENTS = 10_000
"""Of one job, in memory: a long training has a loss for every step. All are on disk."""


class Job(BaseModel):
    """One fine-tuning job."""

    id: str
    created_at: float
    """In seconds of Unix time; the fractions keep the order of what came within one."""
    model: str
    """The model to start from."""
    training_file: str
    name: str
    """The new model's."""
    suffix: str | None
    hyperparameters: Hyperparameters
    seed: int
    metadata: dict[str, str] | None = None
    status: Status = "queued"
    finished_at: int | None = None
    error: str | None = None
    trained_tokens: int | None = None
    num_attempts: int = 0
    """How often its process was started: more than once if the server ended before it."""

    @property
    def is_unfinished(self) -> bool:
        """Return whether it waits or runs."""
        return self.status in UNFINISHED

    def json_object(self) -> dict[str, Any]:
        """Return it as OpenAI's clients read it."""
        hyperparameters = self.hyperparameters.model_dump()
        error = None
        if self.error is not None:
            error = {"code": "training_failed", "message": self.error, "param": None}
        return {
            "id": self.id,
            "object": "fine_tuning.job",
            "created_at": int(self.created_at),
            "finished_at": self.finished_at,
            "model": self.model,
            "fine_tuned_model": self.name if self.status == "succeeded" else None,
            "organization_id": "",
            "status": self.status,
            "training_file": self.training_file,
            "validation_file": None,
            "result_files": [],
            "hyperparameters": hyperparameters,
            "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
            "user_provided_suffix": self.suffix,
            "seed": self.seed,
            "metadata": self.metadata,
            "trained_tokens": self.trained_tokens,
            "estimated_finish": None,
            "integrations": [],
            "error": error,
        }


class JobEvent(BaseModel):
    """Something that happened to a job: said in words, or measured."""

    id: str
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"] = "message"
    data: dict[str, float] = {}

    def json_object(self) -> dict[str, Any]:
        """Return it as OpenAI's clients read it."""
        return {**self.model_dump(), "object": "fine_tuning.job.event"}


class JobStore:
    """All jobs, and a copy of each on disk, so that they outlive the server.

    Where the disk fails, what is known of a job goes on in memory: the others must not suffer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._jobs: dict[str, Job] = {}
        self._events: dict[str, deque[JobEvent]] = {}

    def open(self) -> None:
        """Read what an earlier server left; records that cannot be read are passed over."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in self._folder.glob("*.json"):
            try:
                job = Job.model_validate_json(path.read_bytes())
            except (OSError, ValidationError):
                continue
            self._jobs[job.id] = job
            self._events[job.id] = self._read_events(job.id)

    def newest_first(self) -> list[Job]:
        """Return all jobs, the newest first."""
        jobs = self._jobs.values()
        return sorted(jobs, key=lambda job: job.created_at, reverse=True)

    def find(self, job_id: str) -> Job | None:
        """Return a job, None if there is none of that id."""
        return self._jobs.get(job_id)

    def put(self, job: Job) -> None:
        """Keep a job as it is now.

        Raises:
            OSError: the job is new, and cannot be written down.
        """
        try:
            write_record(self._folder / f"{job.id}.json", job)
        except OSError:
            if job.id not in self._jobs:
                raise
            log.exception("job %s cannot be written down", job.id)
        self._jobs[job.id] = job
        self._events.setdefault(job.id, deque(maxlen=MAX_EVENTS))

    def events(self, job_id: str) -> list[JobEvent]:
        """Return what happened to a job of late, the newest first."""
        return list(reversed(self._events[job_id]))

    def say(
        self,
        job: Job,
        message: str,
        *,
        level: Literal["info", "warn", "error"] = "info",
        data: dict[str, float] | None = None,
    ) -> None:
        """Add to what happened to a job."""
        event = JobEvent(
            id=f"ftevent-{secrets.token_hex(12)}",
            created_at=int(time.time()),
            level=level,
            message=message,
            type="message" if data is None else "metrics",
            data=data or {},
        )
        self._events[job.id].append(event)
        try:
            with self._log_of(job.id).open("a", encoding="utf-8") as events:
                events.write(event.model_dump_json() + "\n")
        except OSError:
            log.exception("an event of job %s cannot be written down", job.id)

    def _log_of(self, job_id: str) -> Path:
        return self._folder / f"{job_id}.events.jsonl"

    def _read_events(self, job_id: str) -> deque[JobEvent]:
        events: deque[JobEvent] = deque(maxlen=MAX_EVENTS)
        with contextlib.suppress(OSError), self._log_of(job_id).open("rb") as lines:
            for line in lines:
                # One may be cut off, where the server died.
                with contextlib.suppress(ValidationError):
                    events.append(JobEvent.model_validate_json(line))
        return events
