"""Owns what is told of a completion when it is over: numbers and one word, none of its text."""

from dataclasses import dataclass, field

from aiohttp import web

from wire.endings import Ending
from wire.jobs import Done

CLIENT_LEFT = 499
"""What the log calls a request whose caller did not wait for the answer."""


@dataclass(eq=False, slots=True)
class Summary:
    """What one completion took so far; the log and the metrics get it at the end.

    Attributes:
        finish_reasons: of its samples.
        error_code: of what it failed with after its status was sent.
        first_token_ms: of the sample that came first.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token_ms: int | None = None
    finish_reasons: set[str] = field(default_factory=set)
    error_code: str | None = None

    def count(self, done: Done, *, with_prompt: bool) -> None:
        """Add a sample; a prompt is counted once, however many continue it."""
        usage = done.usage
        self.prompt_tokens += usage.prompt_tokens if with_prompt else 0
        self.completion_tokens += usage.completion_tokens
        self.finish_reasons.add(done.finish_reason)
        times = [self.first_token_ms, usage.first_token_ms]
        self.first_token_ms = min((each for each in times if each is not None), default=None)

    def ending(self, status: int, total_ms: int) -> Ending:
        """Say how it ended.

        Args:
            status: of the answer.
            total_ms: that it took.
        """
        kind, reason = self._how(status)
        # What was written for who left, or before it failed, nobody has counted to the end.
        is_counted = kind == "done"
        return Ending(
            kind,
            reason,
            self.prompt_tokens if is_counted else None,
            self.completion_tokens if is_counted else None,
            first_token_ms=self.first_token_ms,
            total_ms=total_ms,
        )

    def _how(self, status: int) -> tuple[str, str]:
        if status == CLIENT_LEFT:
            return "gone", "client_left"
        if status >= 500 or (status < 400 and self.error_code is not None):
            return "failed", self.error_code or f"status_{status}"
        if status >= 400:
            return "refused", self.error_code or f"status_{status}"
        return "done", next(iter(self.finish_reasons)) if len(self.finish_reasons) == 1 else "mixed"


summary_key = web.RequestKey("summary", Summary)
