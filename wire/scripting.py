"""Owns what the queue's Lua scripts are, and the settings that each of them gets.

Knows nothing of when they are called.
"""

import hashlib
import json
from collections.abc import Awaitable, Iterable
from functools import cache
from importlib.resources import files
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from wire import keys
from wire.jobs import MAX_TEXT_BYTES, ErrorCode, Failed

LAST_WORDS = {
    ErrorCode.DEADLINE: "This took too long, so it was stopped. Please try again in a while.",
    ErrorCode.NO_ENGINE: "No engine was there to write this in time. Please try again later.",
    ErrorCode.ENGINE_LOST: (
        "Each engine that worked on this stopped unexpectedly, so it was given up. "
        "Please try a different prompt."
    ),
}
"""What a person is told when the queue itself ends a job."""


class Script:
    """A script at one Redis: it sends its hash, and its source where Redis has lost it."""

    def __init__(self, redis: Redis, source: str) -> None:
        self._redis = redis
        self._source = source
        # That is how Redis names scripts.
        self._hash = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, key: str, *args: str | int) -> object:
        """Run it on its only key.

        Raises:
            redis.RedisError: When Redis cannot be reached or refuses.
        """
        given: list[str] = [key, *map(str, args)]
        try:
            return await cast("Awaitable[object]", self._redis.evalsha(self._hash, 1, *given))
        except NoScriptError:
            # redis-py's own would load it first and then call it, and it could be lost in between.
            return await cast("Awaitable[object]", self._redis.eval(self._source, 1, *given))


def register(redis: Redis, names: Iterable[str]) -> dict[str, Script]:
    """Return scripts by name."""
    return {name: Script(redis, _source(name)) for name in names}


def script_settings(*, lease_ms: int, max_attempts: int, record_ttl_s: int) -> str:
    """Return, as JSON, the bounds, lifetimes and last words that the scripts work with."""
    return json.dumps(
        {
            "lease_ms": lease_ms,
            "max_attempts": max_attempts,
            "record_ttl_s": record_ttl_s,
            "freeze_gap_ms": keys.FREEZE_GAP_MS,
            "engine_alive_ms": keys.ENGINE_ALIVE_MS,
            "engine_forget_ms": keys.ENGINE_FORGET_MS,
            "stream_max_entries": keys.STREAM_MAX_ENTRIES,
            "day_s": keys.DAY_S,
            "reap_batch": keys.REAP_BATCH,
            "audit_max_jobs": keys.AUDIT_MAX_JOBS,
            "claim_max_looks": keys.CLAIM_MAX_LOOKS,
            "dead_max": keys.DEAD_MAX,
            "dead_ttl_s": keys.DEAD_TTL_S,
            "max_text_bytes": MAX_TEXT_BYTES,
            "outcomes": {
                code: Failed(code=code, message=said).model_dump_json()
                for code, said in LAST_WORDS.items()
            },
        }
    )


@cache
def _source(script: str) -> str:
    folder = files("wire") / "scripts"
    return "".join((folder / f"{name}.lua").read_text("utf-8") for name in ("common", script))
