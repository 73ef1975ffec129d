"""What the engine's tests share: a vocabulary of bytes, and a model that is no network."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from codec.bpe import Tokenizer
from codec.vocabulary import END_OF_TEXT, Vocabulary, byte_alphabet
from engine.llm_engine import LLMEngine
from engine.model_runner import NoNumberError, StepResult
from engine.scheduler import Scheduler, StepPlan
from engine.sequence import Sequence as EngineSequence
from wire.jobs import SamplingParams

EOT = 256
N_VOCAB = 257
ENDLESS = 10**9
"""A bound no test lives to see: what is told to write so many tokens can't end by itself."""

NextToken = Callable[[Sequence[int]], int]
"""From all ids that stand in a slot to the one drawn behind them."""


def byte_tokenizer(*tokens: bytes) -> Tokenizer:
    """A tokenizer whose ids 0…255 are the bytes, 256 is end-of-text, and `tokens` follow."""
    every = (*(bytes([byte]) for byte in range(256)), END_OF_TEXT.encode(), *tokens)
    return Tokenizer(Vocabulary(every, tuple(range(256)), merges={}, eot=EOT))


def write_vocabulary(folder: Path) -> None:
    """Write the files of `byte_tokenizer()`."""
    table = {**byte_alphabet(), END_OF_TEXT: EOT}
    (folder / "vocab.json").write_text(json.dumps(table), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")


def make_params(**fields: Any) -> SamplingParams:
    """Params with a seed; `max_tokens=ENDLESS` goes past the bound that callers have."""
    max_tokens = fields.pop("max_tokens", 16)
    params = SamplingParams(**{"seed": 1, **fields})
    return params.model_copy(update={"max_tokens": max_tokens})


def make_sequence(prompt: Sequence[int], **fields: Any) -> EngineSequence:
    return EngineSequence(list(prompt), make_params(**fields))


class FakeModelRunner:
    """Behind the ModelRunner protocol: keeps the ids of each slot as a cache keeps their keys.

    A plan that skips or repeats positions, or mixes up slots, fails here or draws other tokens.
    """

    def __init__(self, next_token: NextToken, *, pace_s: float = 0.0) -> None:
        self.plans: list[StepPlan] = []
        self._next_token = next_token
        self._pace_s = pace_s
        self._held: dict[int, list[int]] = {}

    def run(self, plan: StepPlan) -> StepResult:
        self.plans.append(plan)
        time.sleep(self._pace_s)
        chunks = plan.prefill + plan.decode
        slots = [chunk.sequence.slot for chunk in chunks]
        assert None not in slots, "a sequence without a slot was planned"
        assert len(set(slots)) == len(slots), "a slot was planned twice"
        for chunk in chunks:
            assert chunk.num_tokens == 1 or chunk in plan.prefill
            held = self._slot_of(chunk.sequence)
            assert len(held) >= chunk.start, "positions were skipped"
            del held[chunk.start :]
            held += chunk.sequence.token_ids[chunk.start : chunk.start + chunk.num_tokens]
        drawn, lost = [], []
        for chunk in plan.sampled:
            try:
                drawn.append(self._next_token(self._slot_of(chunk.sequence)))
            except FloatingPointError:
                lost.append(chunk.sequence)
        if lost:
            raise NoNumberError("a logit that is no number", lost)
        return StepResult(drawn)

    def _slot_of(self, sequence: EngineSequence) -> list[int]:
        assert sequence.slot is not None
        return self._held.setdefault(sequence.slot, [])


def replies(texts: dict[str, str | bytes | list[int]]) -> NextToken:
    """Answer each prompt with its text or ids, and end-of-text behind them.

    Raises:
        AssertionError: What stands in the slot belongs to no prompt.
    """
    known: list[tuple[list[int], list[int]]] = []
    for prompt, reply in texts.items():
        ids = reply.encode() if isinstance(reply, str) else reply
        known.append((list(prompt.encode()) or [EOT], [*ids, EOT]))

    def next_token(held: Sequence[int]) -> int:
        for prompt, reply in known:
            num_written = len(held) - len(prompt)
            if num_written >= 0 and list(held) == prompt + reply[:num_written]:
                return reply[num_written]
        msg = f"no prompt leads to {held}"
        raise AssertionError(msg)

    return next_token


def forever_a(held: Sequence[int]) -> int:
    return ord("a")


def make_engine(
    runner: FakeModelRunner,
    *,
    num_slots: int = 2,
    prefill_tokens: int = 64,
    max_waiting: int = 8,
    n_ctx: int = 2 * ENDLESS,
    tokenizer: Tokenizer | None = None,
) -> LLMEngine:
    scheduler = Scheduler(
        num_slots=num_slots, prefill_tokens=prefill_tokens, max_waiting=max_waiting, eot=EOT
    )
    return LLMEngine(runner, scheduler, tokenizer or byte_tokenizer(), n_ctx=n_ctx)
