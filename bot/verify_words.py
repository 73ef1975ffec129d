"""What stands in the answer to a verification, from its job's record. Pure; knows no Discord."""

from bot import replies
from bot.origin import Origin
from wire.jobs import Done, Failed
from wire.queue import JobRecord, JobState
from wire.verdicts import Verified


def verify_words(record: JobRecord, origin: Origin, *, place: int | None, num_engines: int) -> str:
    """Say how a verification stands, or how it ended; the arguments are those of `view_of`."""
    match record.outcome:
        case Verified():
            said = record.outcome.sentence()
            looked_at = origin.looked_at if origin.kind == "interaction" else ""
            return f"{said}\n{looked_at}".rstrip()
        case Failed():
            return replies.verify_error_sentence(record.outcome)
        case Done():
            return replies.STOPPED
        case None if record.state is JobState.RUNNING:
            return replies.LOOKING
        case None if record.attempt > 0 and num_engines > 0:
            return replies.LOOKING_AGAIN
        case None:
            return replies.waiting(place, num_engines, record.job.deadline_unix_ms)
