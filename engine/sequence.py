"""Owns Sequence: the tokens of one request while the engine runs it. Plain data, no tensors."""

from dataclasses import dataclass, field
from enum import Enum

from wire.jobs import FinishReason, SamplingParams


class SequenceStatus(Enum):
    """Where a sequence stands: WAITING → RUNNING → FINISHED."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(eq=False, slots=True)
class Sequence:
    """One request as the engine runs it. Two sequences are never equal.

    Attributes:
        token_ids: the prompt's ids, at least one, and behind them what was generated.
        params: how to sample; `seed` is set.
        num_prompt_tokens: set from `token_ids` when the sequence is made.
        num_computed_tokens: how many positions the cache holds. Set by the scheduler.
        slot: the cache slot while RUNNING. Set by the scheduler.
        status: set by the scheduler.
        finish_reason: set by the scheduler once FINISHED; None if it was aborted.
    """

    token_ids: list[int]
    params: SamplingParams
    num_prompt_tokens: int = field(init=False)
    num_computed_tokens: int = field(default=0, init=False)
    slot: int | None = field(default=None, init=False)
    status: SequenceStatus = field(default=SequenceStatus.WAITING, init=False)
    finish_reason: FinishReason | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        assert self.token_ids, "an unconditional sequence begins with end-of-text"
        assert self.params.seed is not None, "the seed is drawn before the sequence is made"
        self.num_prompt_tokens = len(self.token_ids)

    @property
    def num_completion_tokens(self) -> int:
        """Return how many tokens were generated."""
        return len(self.token_ids) - self.num_prompt_tokens


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What one step did to one sequence.

    Attributes:
        sequence: whose.
        text: characters that became whole; may be empty.
        finish_reason: set in the sequence's last output.
    """

    sequence: Sequence
    text: str
    finish_reason: FinishReason | None
