"""What the queue says about jobs: plain frozen records. Knows neither Redis nor its keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from wire.jobs import Job, Outcome


class JobState(StrEnum):
    """Where a job is in its life."""

    WAITING = "waiting"
    """In its user's line or, after a lost engine, in the line of suspects."""
    RUNNING = "running"
    ENDED = "ended"


class Admission(StrEnum):
    """What became of a submitted job."""

    OK = "ok"
    DUPLICATE = "duplicate"
    """This job_id is known already: nothing was changed."""
    BUSY = "busy"
    """The whole line is full."""
    BUSY_USER = "busy_user"
    """This user has as many unfinished jobs as allowed."""
    NO_MODEL = "no_model"
    """Engines live, but none of them has the model that the job names."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many jobs may stand in line."""

    max_waiting: int = 200
    max_unfinished_per_user: int = 2


@dataclass(frozen=True, slots=True)
class Submitted:
    """The answer to a submission."""

    admission: Admission
    num_waiting: int
    """Length of the whole line, this job not counted."""
    num_engines: int
    """Live engines."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job and its text, as they were at one moment."""

    job: Job
    state: JobState
    attempt: int
    """0: never claimed."""
    text: str
    """What the current attempt has written, whole characters only."""
    engine: str | None
    model_name: str | None
    """Of the engine that holds or held it."""
    cancel_requested: bool
    outcome: Outcome | None
    """Set when state is ENDED."""
    message_ids: tuple[int, ...]
    """Discord messages that show it, part by part; () before the first."""
    is_adopted: bool
    """Another run of the bot than the one that submitted it shows it, or has shown it, too."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that an engine now holds."""

    job: Job
    attempt: int
    waited_ms: int
    """From submission to this claim."""
    suspect: bool
    """An earlier engine died with it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What an engine has written since its last word on a job; `text` may be empty."""

    job_id: str
    attempt: int
    offset_bytes: int
    """Where `text` begins in the UTF-8 text of this attempt."""
    text: str


@dataclass(frozen=True, slots=True)
class Hint:
    """Something happened to a job; the record says what."""

    job_id: str
    attempt: int
    kind: str
    """started | delta | retried | ended."""
    entry_id: str
    """The stream entry's id, to read on from."""


@dataclass(frozen=True, slots=True)
class Announced:
    """What an engine says of itself."""

    fingerprint: str
    """Of the watermark key that it marks with; empty where nothing is marked."""
    version: str
    """Ovid's; empty for one too old to say it."""


@dataclass(frozen=True, slots=True)
class QueueStats:
    """The lane in numbers."""

    num_waiting: int
    num_running: int
    num_engines: int
    engines: Mapping[str, str]
    """Live engine name to the model it runs where none is named."""
    models: tuple[str, ...]
    """What jobs may name, as `JobQueue.models` gives it."""
    num_dead: int
    """Jobs given up after the last attempt, the newest thousand."""
    is_full: bool = False
    """Whether Redis has no memory left: new jobs are refused, the others go on."""
