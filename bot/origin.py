"""Where a reply belongs: the bot's own note in a job. Lives in Redis only, and is never logged.

Also owns the names made from Discord's ids: job ids and nonces. Knows nothing of text.
"""

import re
import string
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Snowflake = Annotated[int, Field(ge=0, le=2**64 - 1)]

_DIGITS = string.digits + string.ascii_lowercase
_JOB_ID = re.compile(r"[mi](?P<channel>[0-9]{1,20})\.(?P<source>[0-9]{1,20})")


class _Origin(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    channel_id: Snowflake
    asker_id: Snowflake
    locale: Annotated[str, Field(max_length=16)] | None = None


class MessageOrigin(_Origin):
    """A mention or a direct message: the reply is a message that refers to it."""

    kind: Literal["message"] = "message"
    message_id: Snowflake


class InteractionOrigin(_Origin):
    """A command: the reply is the interaction's answer."""

    kind: Literal["interaction"] = "interaction"
    interaction_id: Snowflake
    application_id: Snowflake
    token: Annotated[str, Field(repr=False, max_length=1024)]
    """Lets its holder answer for 15 minutes, so it is a secret."""
    asker_name: Annotated[str, Field(max_length=64)]
    may_post: bool
    """Whether the bot may write to the channel itself, as further parts of a long reply need."""
    is_private: bool = False
    """Whether only who asked sees the answer: nothing about it is ever said in the channel."""
    looked_at: Annotated[str, Field(max_length=600)] = ""
    """Small print below the answer to a verification: what was looked at. Inert."""


Origin = MessageOrigin | InteractionOrigin
_adapter: TypeAdapter[Origin] = TypeAdapter(Annotated[Origin, Field(discriminator="kind")])


def load_origin(text: str) -> Origin:
    """Read the note that `dump_origin` made.

    Raises:
        pydantic.ValidationError: It is something else.
    """
    return _adapter.validate_json(text)


def dump_origin(origin: Origin) -> str:
    """Write the note as compact JSON.

    >>> dump_origin(MessageOrigin(channel_id=1, asker_id=2, message_id=3))
    '{"channel_id":1,"asker_id":2,"kind":"message","message_id":3}'
    """
    return origin.model_dump_json(exclude_none=True)


def job_id_of(origin: Origin) -> str:
    """Name the job: the same request is always the same job.

    The channel is part of the name, so that a person can be told even when Redis has lost the job;
    but nobody can be told in private without what Redis has lost.

    >>> job_id_of(MessageOrigin(channel_id=1, asker_id=2, message_id=3))
    'm1.3'
    """
    if origin.kind == "message":
        return f"m{origin.channel_id}.{origin.message_id}"
    return f"{'p' if origin.is_private else 'i'}{origin.channel_id}.{origin.interaction_id}"


def origin_of_lost_job(job_id: str) -> MessageOrigin | None:
    """Say what a job's name alone tells of where it belongs; None if it may not be told there.

    A slash command is told like a message then, as its token was only in Redis.

    >>> lost = origin_of_lost_job("m1.3")
    >>> lost.channel_id, lost.message_id
    (1, 3)
    """
    match = _JOB_ID.fullmatch(job_id)
    if match is None:
        return None
    channel_id, source_id = int(match["channel"]), int(match["source"])
    return MessageOrigin(channel_id=channel_id, asker_id=0, message_id=source_id)


def nonce(job_id: str, part: int | str) -> str:
    """Name one message of a reply, in at most 25 characters as Discord asks.

    >>> nonce("m1.1310000000000000000", 0)
    '9yas8rz6begw.0'
    """
    return f"{_base36(int(job_id.rpartition('.')[2]))}.{part}"


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
