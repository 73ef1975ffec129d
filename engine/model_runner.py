"""Owns a step's tensors: a plan in, one id for each sampled chunk out. Knows no policy."""

from collections.abc import Sequence as Seq
from typing import Protocol

import torch
from torch import Tensor

from engine.kv_cache import KVCache
from engine.model import GPT2
from engine.sampler import SampleRow, sample
from engine.scheduler import Chunk, StepPlan


class ModelRunner(Protocol):
    """What LLMEngine needs of whoever runs the model."""

    def run(self, plan: StepPlan) -> list[int]:
        """Compute a step and return one id for each of `plan.sampled`, in its order."""
        ...


class TorchModelRunner:
    """Run GPT-2 in PyTorch, on the device of the model.

    Args:
        model: for inference.
        num_slots: sequences that run at once.
        n_vocab: ids that the tokenizer knows; a padded model has logits for more.
    """

    def __init__(self, model: GPT2, *, num_slots: int, n_vocab: int) -> None:
        self._model = model
        self._n_vocab = n_vocab
        weight = model.wte.weight
        self._device = weight.device
        self._cache = KVCache(model.config, num_slots, device=weight.device, dtype=weight.dtype)

    @torch.inference_mode()
    def run(self, plan: StepPlan) -> list[int]:
        """Compute a step and return one id for each of `plan.sampled`, in its order."""
        last = [self._forward([chunk]) for chunk in plan.prefill]
        hidden = [row for row, chunk in zip(last, plan.prefill, strict=True) if chunk.samples]
        if plan.decode:
            hidden.append(self._forward(plan.decode))
        if not hidden:
            return []
        logits = self._model.logits(torch.cat(hidden))[:, : self._n_vocab]  # (B, V)
        drawn: list[int] = sample(logits, [_row(chunk) for chunk in plan.sampled]).tolist()
        return drawn

    def _forward(self, chunks: Seq[Chunk]) -> Tensor:
        """Run chunks of equal length and return the hidden state of each one's last token."""
        num_tokens = chunks[0].num_tokens
        ids = [chunk.sequence.token_ids[chunk.start : chunk.start + num_tokens] for chunk in chunks]
        slots = [chunk.sequence.slot for chunk in chunks]
        view = self._cache.view(
            [slot for slot in slots if slot is not None],
            [chunk.start for chunk in chunks],
            num_tokens,
        )
        hidden: Tensor = self._model(torch.tensor(ids, device=self._device), view)  # (B, T, C)
        return hidden[:, -1]


def _row(chunk: Chunk) -> SampleRow:
    sequence = chunk.sequence
    penalised = sequence.params.repetition_penalty > 1
    return SampleRow(
        params=sequence.params,
        position=sequence.num_completion_tokens,
        seen=sequence.token_ids if penalised else (),
    )
