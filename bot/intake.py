"""Take requests in: from a checked request to a job in the queue, or a sentence why not.

Knows no Discord object: who calls it has read the message or command already.
"""

import logging
import time
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError
from redis.exceptions import OutOfMemoryError, RedisError

from bot import replies
from bot.follower import Follower
from bot.origin import Origin, dump_origin, job_id_of
from wire.jobs import Job, SamplingParams
from wire.queue import Admission, Bounds, JobQueue

_log = logging.getLogger(__name__)

MESSAGE_DEADLINE_S = 10 * 60
INTERACTION_DEADLINE_S = 14 * 60
"""An interaction can be answered for 15 minutes; the last word needs some of the last one."""
VERIFY_DEADLINE_S = 60
"""To look at a text takes an engine less than a second, once it has a slot free."""


class RefusedError(Exception):
    """What was asked for can't be done; it says so in a sentence for the person."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asked for.

    Attributes:
        prompt: What the text begins with; to verify: the text.
        options: Fields of `SamplingParams` that the person chose.
        model: The model that is to write; None: whichever an engine runs.
        kind: Whether a text is wanted, or word of where one comes from.
    """

    prompt: str
    options: dict[str, Any] = field(default_factory=dict)
    model: str | None = None
    kind: Literal["generate", "verify"] = "generate"


class Reception(NamedTuple):
    """What became of a request: one word for whoever counts, and why not, for the person."""

    word: str
    refusal: str | None = None


class Intake:
    """The way into the queue."""

    def __init__(self, queue: JobQueue, follower: Follower, bot_id: str, bounds: Bounds) -> None:
        self._queue = queue
        self._follower = follower
        self._bot_id = bot_id
        self._bounds = bounds

    async def ask(self, origin: Origin, request: Request) -> Reception:
        """Put a request into the queue, and have its reply shown.

        Args:
            origin: Where the reply belongs.
            request: What is asked for.

        Returns:
            What became of it. A request that is known already is not refused.
        """
        try:
            job = self._job(origin, request)
        except ValidationError as error:
            # A name that no model can have is no other mistake than one that none has.
            is_name = error.errors()[0]["loc"] == ("model",)
            if is_name:
                return await self._no_such_model()
            return Reception("invalid", replies.bad_option(error))
        self._follower.expect(job.job_id)
        try:
            return await self._submit(job, origin)
        except RedisError as error:
            _log.warning("job=%s: it could not be submitted: %r", job.job_id, error)
            self._follower.disown(job.job_id)
            if isinstance(error, OutOfMemoryError):
                return Reception("redis_full", replies.REDIS_FULL)
            return Reception("redis_away", replies.REDIS_AWAY)
        except Exception:
            # Whoever calls tells the person so: what was admitted all the same is not to be shown.
            self._follower.disown(job.job_id)
            raise
        finally:
            self._follower.drop(job.job_id)

    async def models(self) -> tuple[str, ...]:
        """Return what `Request.model` can be, the usual one first; nothing when Redis is away."""
        try:
            return await self._queue.models()
        except RedisError as error:
            _log.info("the models could not be looked up: %r", error)
            return ()

    async def _no_such_model(self) -> Reception:
        return Reception(Admission.NO_MODEL, replies.no_such_model(await self.models()))

    def _job(self, origin: Origin, request: Request) -> Job:
        lasts_s = MESSAGE_DEADLINE_S if origin.kind == "message" else INTERACTION_DEADLINE_S
        if request.kind == "verify":
            lasts_s = VERIFY_DEADLINE_S
        return Job(
            kind=request.kind,
            job_id=job_id_of(origin),
            user_id=str(origin.asker_id),
            bot_id=self._bot_id,
            model=request.model,
            prompt=request.prompt,
            params=SamplingParams.model_validate(request.options),
            deadline_unix_ms=int((time.time() + lasts_s) * 1000),
            origin=dump_origin(origin),
        )

    async def _submit(self, job: Job, origin: Origin) -> Reception:
        submitted = await self._queue.submit(job, self._bounds)
        admission = submitted.admission
        match admission:
            case Admission.OK if job.kind == "verify" and submitted.num_engines == 0:
                await self._queue.cancel(job.job_id)
                await self._queue.shown(job.bot_id, job.job_id)
                return Reception("no_engine", replies.NO_ENGINE_TO_VERIFY)
            case Admission.OK:
                self._follower.take(job.job_id, origin, submitted.num_engines)
                return Reception(admission)
            case Admission.DUPLICATE:
                return Reception(admission)
            case Admission.BUSY:
                return Reception(admission, replies.line_is_full(submitted.num_waiting))
            case Admission.BUSY_USER:
                most = self._bounds.max_unfinished_per_user
                return Reception(admission, replies.you_have_enough(most))
            case Admission.NO_MODEL:
                return await self._no_such_model()
