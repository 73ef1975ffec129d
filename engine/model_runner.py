"""Owns a step's tensors: a plan in, one id for each sampled chunk out. Knows no policy.

Legend: B rows, T tokens per row, C width, V vocabulary.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from engine.kv_cache import KVCache
from engine.model import GPT2
from engine.noise import seed_key
from engine.sampler import SampleRow, sample, score
from engine.scheduler import Chunk, StepPlan
from engine.sequence import Scoring, Sequence, TokenScore
from engine.watermark import CONTEXT_TOKENS, WatermarkKey, subkey_of

SCORED_AT_ONCE = 32
"""Prompt tokens whose logits are held at once: 6 MiB of float32 for GPT-2's vocabulary."""

NO_NUMBER = "the model computed what is no number: damaged weights, or an overflow at this text"

Scores = dict[Sequence, tuple[TokenScore, ...]]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step computed.

    Attributes:
        drawn: one id for each of `plan.sampled`, in its order.
        scores: for sequences that ask: of prompt tokens that this step's positions predict, then
            of the drawn one.
    """

    drawn: list[int]
    scores: Scores = field(default_factory=dict)


class NoNumberError(FloatingPointError):
    """The model computed what is no number: damaged weights, or an overflow at some text.

    Attributes:
        sequences: that cannot go on. The others can: the same step without these may be run.
    """

    def __init__(self, said: str, sequences: Seq[Sequence]) -> None:
        super().__init__(said)
        self.sequences = sequences


class ModelRunner(Protocol):
    """What LLMEngine needs of whoever runs the model."""

    def run(self, plan: StepPlan) -> StepResult:
        """Compute a step.

        Raises:
            NoNumberError: some of it is no number.
        """
        ...


class TorchModelRunner:
    """Run GPT-2 in PyTorch, on the device of the model.

    Args:
        model: for inference.
        num_slots: sequences that run at once.
        n_vocab: ids that the tokenizer knows; a padded model has logits for more.
        watermark: the key that marks replies; None: none is marked.
    """

    def __init__(
        self, model: GPT2, *, num_slots: int, n_vocab: int, watermark: WatermarkKey | None = None
    ) -> None:
        self._model = model
        self._watermark = watermark
        self._n_vocab = n_vocab
        weight = model.wte.weight
        self._device = weight.device
        self._cache = KVCache(model.config, num_slots, device=weight.device, dtype=weight.dtype)

    @torch.inference_mode()
    def run(self, plan: StepPlan) -> StepResult:
        """Compute a step.

        Raises:
            NoNumberError: some of it is no number.
        """
        scores: Scores = {}
        last = []
        for chunk in plan.prefill:
            hidden = self._forward([chunk])  # (1, T, C)
            if chunk.samples:
                last.append(hidden[:, -1])
            elif not hidden[:, -1].isfinite().all():
                # It sees all before it. Who gets the slot next would meet what nobody drew from.
                raise self._no_number([chunk.sequence])
            scoring = chunk.sequence.scoring
            if scoring is not None and scoring.prompt:
                scores[chunk.sequence] = self._prompt_scores(chunk, hidden[0], scoring)
        if plan.decode:
            last.append(self._forward(plan.decode)[:, -1])
        if not last:
            return StepResult([], scores)
        logits = self._logits(torch.cat(last))  # (B, V)
        drawn = self._draw(logits, [chunk.sequence for chunk in plan.sampled])
        for row, (chunk, token_id) in enumerate(zip(plan.sampled, drawn, strict=True)):
            if chunk.sequence.scoring is not None:
                scored = score(logits[row : row + 1], [token_id], chunk.sequence.scoring.num_top)
                scores[chunk.sequence] = (*scores.get(chunk.sequence, ()), *scored)
        return StepResult(drawn, scores)

    def _forward(self, chunks: Seq[Chunk]) -> Tensor:
        """Run chunks of equal length and return their hidden states, `(B, T, C)`."""
        num_tokens = chunks[0].num_tokens
        ids = [chunk.sequence.token_ids[chunk.start : chunk.start + num_tokens] for chunk in chunks]
        slots = [chunk.sequence.slot for chunk in chunks]
        view = self._cache.view(
            [slot for slot in slots if slot is not None],
            [chunk.start for chunk in chunks],
            num_tokens,
        )
        hidden: Tensor = self._model(torch.tensor(ids, device=self._device), view)
        return hidden

    def _draw(self, logits: Tensor, sequences: Seq[Sequence]) -> list[int]:
        try:
            drawn: list[int] = sample(logits, [self._row(each) for each in sequences]).tolist()
        except FloatingPointError as error:
            rows = (~logits.amax(-1).isfinite()).nonzero().flatten().tolist()
            raise self._no_number([sequences[row] for row in rows] or sequences) from error
        # Only now: a step that failed is run again, and has to draw the same.
        for each in sequences:
            self._remember_context(each)
        return drawn

    def _no_number(self, lost: Seq[Sequence]) -> NoNumberError:
        """Return what is raised for sequences that cannot go on, whose slots are emptied."""
        self._cache.clear([each.slot for each in lost if each.slot is not None])
        return NoNumberError(NO_NUMBER, lost)

    def _logits(self, hidden: Tensor) -> Tensor:
        return self._model.logits(hidden)[:, : self._n_vocab]

    def _prompt_scores(
        self, chunk: Chunk, hidden: Tensor, scoring: Scoring
    ) -> tuple[TokenScore, ...]:
        """Score the prompt tokens that a chunk's hidden states `(T, C)` predict."""
        first = chunk.start + 1
        expected = chunk.sequence.token_ids[first : first + chunk.num_tokens]
        scores: list[TokenScore] = []
        # In parts: logits for a whole prompt would take more memory than all that it was read with.
        for begin in range(0, len(expected), SCORED_AT_ONCE):
            part = expected[begin : begin + SCORED_AT_ONCE]
            logits = self._logits(hidden[begin : begin + len(part)])
            if not logits.amax(-1).isfinite().all():
                raise self._no_number([chunk.sequence])
            scores += score(logits, part, scoring.num_top)
        return tuple(scores)

    def _row(self, sequence: Sequence) -> SampleRow:
        penalised = sequence.params.repetition_penalty > 1
        return SampleRow(
            params=sequence.params,
            noise_key=self._noise_key(sequence),
            seen=sequence.token_ids if penalised else (),
        )

    def _context(self, sequence: Sequence) -> tuple[int, ...] | None:
        """Return the tokens that decide the next draw if it is marked; None where it cannot be."""
        # The first tokens come from the seed, so that texts of one subkey differ all the same;
        # nobody could score them, since who verifies a text does not have the prompt.
        is_late_enough = sequence.num_completion_tokens >= CONTEXT_TOKENS
        if self._watermark and sequence.params.watermark and is_late_enough:
            return tuple(sequence.token_ids[-CONTEXT_TOKENS:])
        return None

    def _remember_context(self, sequence: Sequence) -> None:
        if context := self._context(sequence):
            sequence.marked_contexts.add(context)

    def _noise_key(self, sequence: Sequence) -> int:
        seed, context = sequence.params.seed, self._context(sequence)
        assert seed is not None
        # Marked again, a repeated context would repeat its token, and a loop would never end.
        if self._watermark and context and context not in sequence.marked_contexts:
            return self._watermark.row_key(subkey_of(seed), context)
        return seed_key(seed, sequence.num_completion_tokens)
