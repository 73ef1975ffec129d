"""Owns Sequence: the tokens of one request while the engine runs it. Plain data, no tensors."""

from dataclasses import dataclass, field
from enum import Enum

from wire.jobs import FinishReason, SamplingParams


class SequenceStatus(Enum):
    """Where a sequence stands: WAITING → RUNNING → FINISHED."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Scoring:
    """What a caller wants to know of how likely the tokens were; nothing is computed unasked.

    Attributes:
        num_top: most likely tokens that are named at each place, 0 or more.
        prompt: whether the prompt's own tokens are scored as well, from its second on.
    """

    num_top: int = 0
    prompt: bool = False


@dataclass(frozen=True, slots=True)
class TokenScore:
    """How likely the model itself held one token to be, before penalty, temperature and cuts.

    Attributes:
        token_id: the token that stands in the text.
        logprob: natural logarithm of its probability.
        top: the most likely tokens at its place with theirs, likeliest first.
    """

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(eq=False, slots=True)
class Sequence:
    """One request as the engine runs it. Two sequences are never equal.

    Attributes:
        token_ids: the prompt's ids, at least one, and behind them what was generated.
        params: how to sample; `seed` is set. With `max_tokens` 0 the prompt is read and no more.
        scoring: what is wanted besides text; None: nothing.
        marked_contexts: behind which the watermark's key has decided a draw. Added to by whoever
            draws.
        num_prompt_tokens: set from `token_ids` when the sequence is made.
        num_computed_tokens: how many positions the cache holds. Set by the scheduler.
        slot: the cache slot while RUNNING. Set by the scheduler.
        status: set by the scheduler.
        finish_reason: set by the scheduler once FINISHED; None if it was aborted.
    """

    token_ids: list[int]
    params: SamplingParams
    scoring: Scoring | None = None
    marked_contexts: set[tuple[int, ...]] = field(default_factory=set, init=False)
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

    @property
    def writes(self) -> bool:
        """Return whether anything is generated at all, or the prompt is only scored."""
        return self.params.max_tokens > 0


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What one step did to one sequence.

    Attributes:
        sequence: whose.
        text: characters that became whole; may be empty.
        finish_reason: set in the sequence's last output.
        scores: of the tokens that came with this step, where they are asked for.
    """

    sequence: Sequence
    text: str
    finish_reason: FinishReason | None
    scores: tuple[TokenScore, ...] = ()
