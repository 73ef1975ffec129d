"""Finds out which of the queue's commands Redis refuses. Leaves nothing there; touches no job."""

from importlib.resources import files
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from wire.keys import Lane

SCRATCH = f"{Lane(0).prefix}:rights"
"""What the keys of the trial begin with: where the queue's own are, on a Cluster too."""
WAIT_S = 0.01
TRIAL = (files("wire") / "scripts" / "rights.lua").read_text("utf-8")


async def refused_commands(redis: Redis) -> list[str]:
    """Try each command that bots and engines give, and name those that their user may not.

    Raises:
        redis.RedisError: When Redis cannot be reached, or refuses scripts or all writes.
    """
    answer: object = await redis.eval(TRIAL, 1, SCRATCH)
    refused = [each.decode() for each in cast("list[bytes]", answer)]
    try:
        # No script can wait.
        await redis.blpop([f"{SCRATCH}:bell"], WAIT_S)
    except NoPermissionError:
        refused.append("blpop")
    return refused
