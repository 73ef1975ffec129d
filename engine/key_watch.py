"""Owns what an engine tells others of its watermark key, and notices who has another one.

Knows fingerprints only, from which nothing follows about a key.
"""

import logging
import time

from wire.queue import JobQueue

log = logging.getLogger(__name__)

LOOK_EVERY_S = 30.0
"""An engine that joins looks at once, so the others may take their time."""


class KeyWatch:
    """Announce an engine's key, and say once when live engines do not all mark with one.

    Args:
        queue: at which the engines meet.
        engine: the name of this one.
        fingerprint: of the key that marks its texts; empty where nothing is marked.
    """

    def __init__(self, queue: JobQueue, engine: str, fingerprint: str) -> None:
        self._queue = queue
        self._engine = engine
        self._fingerprint = fingerprint
        self._next_look_s = 0.0
        self._told: dict[str, str] = {}

    async def look(self) -> None:
        """Announce and compare, if it is time to. The engine has given a sign of life before.

        Raises:
            redis.RedisError: Redis cannot be reached or refuses.
        """
        if time.monotonic() < self._next_look_s:
            return
        said = await self._queue.announce(self._engine, self._fingerprint)
        self._next_look_s = time.monotonic() + LOOK_EVERY_S
        marks = {name: each.fingerprint for name, each in said.items()}
        others = {name: mark for name, mark in marks.items() if mark != self._fingerprint}
        if others and others != self._told:
            log.warning("%s", self._mismatch(others))
        elif self._told and not others:
            log.info("all engines at this Redis mark with one watermark key again")
        self._told = others

    def _mismatch(self, others: dict[str, str]) -> str:
        shown = ", ".join(f"{name} marks with {mark or 'none'}" for name, mark in others.items())
        return (
            f"engines at this Redis mark with different watermark keys: this one, {self._engine}, "
            f"marks with {self._fingerprint or 'none'}, but {shown}. What one of them wrote, "
            f"another does not know as its own: give all of them the same OVID_WATERMARK_KEY or "
            f"OVID_WATERMARK_KEY_FILE, old keys behind the current one, and start them again."
        )
