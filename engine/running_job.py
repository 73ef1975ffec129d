"""Owns what the worker remembers of a claimed job: its text, and how much of it Redis has.

Knows neither Redis nor models.
"""

import asyncio
import time
from dataclasses import dataclass, field

from wire.jobs import Done, FinishReason, Usage
from wire.queue import Claimed, Progress

CONTINUATION_BITS, CONTINUATION = 0xC0, 0x80
"""How the bytes of a UTF-8 character after its first are known."""


@dataclass(eq=False, slots=True)
class RunningJob:
    """A claimed job. `unsent` is text that Redis has not confirmed, from `sent_bytes` on."""

    claimed: Claimed
    text: bytearray = field(default_factory=bytearray)
    sent_bytes: int = 0
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    began_s: float = field(default_factory=time.monotonic)
    is_ending: bool = False
    """Its last word is being written, and the answer to that says whose the job is."""
    task: asyncio.Task[None] | None = None

    @property
    def job_id(self) -> str:
        """Return the id under which the queue knows it."""
        return self.claimed.job.job_id

    @property
    def total_ms(self) -> int:
        """Return how long ago it was submitted."""
        return self.claimed.waited_ms + round(1000 * (time.monotonic() - self.began_s))

    def progress(self) -> Progress:
        """Return what Redis has not confirmed, in whole characters.

        A Redis that lost what was written last may have kept a part of a character.
        """
        start = self.sent_bytes
        while 0 < start < len(self.text) and self.text[start] & CONTINUATION_BITS == CONTINUATION:
            start -= 1
        unsent = self.text[start:].decode()
        return Progress(self.job_id, self.claimed.attempt, start, unsent)

    def confirm(self, sent: Progress, verdict: int) -> None:
        """Take Redis's word for how much it has."""
        if verdict < 0:
            self.sent_bytes = -verdict - 1
        else:
            self.sent_bytes = max(self.sent_bytes, sent.offset_bytes + len(sent.text.encode()))

    def cancelled_unbegun(self, model_name: str) -> Done:
        """Return the last word of a job that was cancelled before its model was there."""
        usage = Usage(
            prompt_tokens=0,
            completion_tokens=0,
            queue_ms=self.claimed.waited_ms,
            first_token_ms=None,
            total_ms=self.total_ms,
        )
        return Done(
            finish_reason=FinishReason.CANCELLED,
            usage=usage,
            model_name=model_name,
            seed=self.claimed.job.params.seed or 0,
        )
