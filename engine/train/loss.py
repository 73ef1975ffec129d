"""Owns the loss: of a batch, and of the held-out text. Knows no optimizer.

Legend: B rows, T tokens per row, C width, V vocabulary.
"""

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch user knows
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from engine.loading import pick_dtype
from engine.model import GPT2
from engine.train.data import Blocks, Corpus, collate
from engine.train.distributed import World


@dataclass(frozen=True, slots=True)
class HeldOutLoss:
    """How well unseen text is predicted."""

    nats_per_token: float
    bits_per_byte: float


def batch_nats(model: GPT2, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the summed loss of a batch in nats, a scalar on the model's device.

    Args:
        model: whose.
        inputs: `(B, T)` int64, on any device.
        targets: `(B, T)` int64; `MASKED` ones are left out.
    """
    device = model.wte.weight.device
    inputs, targets = inputs.to(device), targets.to(device)
    with _autocast(device):
        hidden = model(inputs)  # (B, T, C)
        if not (model.recomputes and torch.is_grad_enabled()):
            return _head_nats(model, hidden, targets)
        # The logits are the largest tensor by far: row by row, and again on the way back.
        rows = zip(hidden, targets, strict=True)
        nats = [checkpoint(_head_nats, model, *row, use_reentrant=False) for row in rows]
        return torch.stack(nats).sum()


@torch.no_grad()
def held_out_nats(model: GPT2, corpus: Corpus, block_tokens: int, world: World) -> float:
    """Return the loss on the held-out text in nats per token, computed block by block."""
    model.eval()
    blocks = Blocks(corpus.held_out, block_tokens)
    total = torch.zeros((), dtype=torch.float64)
    for index in range(world.rank, len(blocks), world.size):
        total += batch_nats(model, *collate([blocks[index]])).cpu()
    return float(world.sum(total)) / corpus.held_out.num_targets


def held_out_loss(corpus: Corpus, nats_per_token: float) -> HeldOutLoss:
    """Say a held-out loss in both units."""
    nats = nats_per_token * corpus.held_out.num_targets
    return HeldOutLoss(nats_per_token, nats / math.log(2) / corpus.held_out_bytes)


def _head_nats(model: GPT2, hidden: Tensor, targets: Tensor) -> Tensor:
    logits = model.logits(hidden).flatten(0, -2)  # (B · T, V)
    return F.cross_entropy(logits, targets.flatten(), reduction="sum")


def _autocast(device: torch.device) -> AbstractContextManager[None]:
    return torch.autocast(device.type, pick_dtype(device), enabled=device.type == "cuda")
