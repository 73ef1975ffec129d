"""Take requests in: from a checked request to a job in the queue, or a sentence why not.

Knows no Discord object: who calls it has read the message or command already.
"""

import logging
import time
from typing import Any

from pydantic import ValidationError
from redis.exceptions import RedisError

from bot import replies
from bot.follower import Follower
from bot.origin import Origin, dump_origin, job_id_of
from wire.jobs import Job, SamplingParams
from wire.queue import Admission, Bounds, JobQueue

_log = logging.getLogger(__name__)

MESSAGE_DEADLINE_S = 10 * 60
INTERACTION_DEADLINE_S = 14 * 60
"""An interaction can be answered for 15 minutes; the last word needs some of the last one."""


class Intake:
    """The way into the queue."""

    def __init__(self, queue: JobQueue, follower: Follower, bot_id: str, bounds: Bounds) -> None:
        self._queue = queue
        self._follower = follower
        self._bot_id = bot_id
        self._bounds = bounds

    async def ask(self, origin: Origin, prompt: str, options: dict[str, Any]) -> str | None:
        """Put a request into the queue, and have its reply shown.

        Args:
            origin: Where the reply belongs.
            prompt: What the text begins with.
            options: Fields of `SamplingParams` that the person chose.

        Returns:
            None, or a sentence that refuses. A request that is known already is not refused.
        """
        try:
            job = self._job(origin, prompt, options)
        except ValidationError as error:
            return replies.bad_option(error)
        self._follower.expect(job.job_id)
        try:
            return await self._submit(job, origin)
        except RedisError as error:
            _log.warning("job %s: it could not be submitted: %r", job.job_id, error)
            self._follower.disown(job.job_id)
            return replies.REDIS_AWAY
        finally:
            self._follower.drop(job.job_id)

    def _job(self, origin: Origin, prompt: str, options: dict[str, Any]) -> Job:
        is_message = origin.kind == "message"
        lasts_s = MESSAGE_DEADLINE_S if is_message else INTERACTION_DEADLINE_S
        return Job(
            job_id=job_id_of(origin),
            user_id=str(origin.asker_id),
            bot_id=self._bot_id,
            prompt=prompt,
            params=SamplingParams.model_validate(options),
            deadline_unix_ms=int((time.time() + lasts_s) * 1000),
            origin=dump_origin(origin),
        )

    async def _submit(self, job: Job, origin: Origin) -> str | None:
        submitted = await self._queue.submit(job, self._bounds)
        match submitted.admission:
            case Admission.OK:
                self._follower.take(job.job_id, origin, submitted.num_engines)
                return None
            case Admission.DUPLICATE:
                return None
            case Admission.BUSY:
                return replies.line_is_full(submitted.num_waiting)
            case Admission.BUSY_USER:
                return replies.you_have_enough(self._bounds.max_unfinished_per_user)
