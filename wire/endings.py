"""How a job ended, as both programs log and count it: one line of facts, and none of its text."""

from dataclasses import dataclass
from typing import Self

from wire.jobs import Done, Failed, Outcome
from wire.verdicts import Verified


@dataclass(frozen=True, slots=True)
class Ending:
    """What is told of a job that is over.

    Attributes:
        kind: `done`, `verified`, `failed`, or what became of it before there was an outcome.
        reason: One of few words: why it stopped, the error's code, the verdict. Never a sentence,
            which may quote what a person wrote.
        prompt_tokens: That were read; to verify: that could carry the mark.
        completion_tokens: That were written.
        queue_ms: From submission to the claim.
        first_token_ms: From the claim to the first token.
        total_ms: From submission to the last token.
    """

    kind: str
    reason: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    queue_ms: int | None = None
    first_token_ms: int | None = None
    total_ms: int | None = None

    @classmethod
    def of(
        cls, outcome: Outcome, *, queue_ms: int | None = None, total_ms: int | None = None
    ) -> Self:
        """Read an outcome; the times are for one that does not tell its own."""
        match outcome:
            case Done(usage=usage):
                return cls("done", outcome.finish_reason, **usage.model_dump())
            case Verified():
                times = {"queue_ms": queue_ms, "total_ms": total_ms}
                return cls("verified", outcome.verdict, outcome.num_scored, 0, **times)
            case Failed():
                return cls("failed", outcome.code, queue_ms=queue_ms, total_ms=total_ms)

    def facts(self, job_id: str, attempt: int | None) -> dict[str, str | int | None]:
        """Name what the line of the log says, in its order."""
        return {
            "job": job_id,
            "attempt": attempt,
            "ending": self.kind,
            "reason": self.reason,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "queue_ms": self.queue_ms,
            "first_token_ms": self.first_token_ms,
            "total_ms": self.total_ms,
        }
