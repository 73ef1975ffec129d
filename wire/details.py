"""Everything that it takes to write a text again but its prompt: one form, whoever shows it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wire.base import Message
from wire.jobs import Done, FinishReason, SamplingParams, Usage
from wire.provenance import Provenance


class Details(Message):
    """How a text was made. Its JSON is what `python -m engine sample --details` reads."""

    kind: Literal["details"] = "details"
    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]{1,64}…?$")]
    """As a job names it; one that had to be cut ends in an ellipsis."""
    provenance: Provenance
    params: SamplingParams
    """With the seed."""
    finish_reason: FinishReason
    usage: Usage

    @model_validator(mode="after")
    def _has_a_seed(self) -> Self:
        if self.params.seed is None:
            msg = "details without a seed cannot write the same text again"
            raise ValueError(msg)
        return self

    @classmethod
    def of(cls, done: Done, params: SamplingParams) -> Self | None:
        """Put together what is known of a reply; None where nothing wrote it.

        Args:
            done: the reply's last word.
            params: of its job.
        """
        if done.provenance is None:
            return None
        return cls(
            model=done.model_name,
            provenance=done.provenance,
            params=params.model_copy(update={"seed": done.seed}),
            finish_reason=done.finish_reason,
            usage=done.usage,
        )

    @property
    def seed(self) -> int:
        """Return the seed, which is always there."""
        assert self.params.seed is not None
        return self.params.seed

    @property
    def is_model_cut(self) -> bool:
        """Return whether the model's name is only the beginning of one."""
        return self.model.endswith("…")

    @property
    def max_tokens(self) -> int:
        """Return the length to ask for: a reply that was stopped ended before its own."""
        if self.finish_reason is FinishReason.CANCELLED:
            return max(1, self.usage.completion_tokens)
        return self.params.max_tokens
