"""Owns the keys and values of running sequences: one slot each, n_ctx positions long.

Legend: L layers, S slots, H heads, N context, D head width, B rows of a step, T tokens per row.

Bytes: `2 · L · S · N · n_embd · bytes per number`. GPT-2 124M in float32 takes 72 MiB for each
slot (36 MiB in a half precision), 1558M takes 600 MiB (300 MiB). Nothing is ever preempted,
because a slot already holds the longest sequence.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.config import ModelConfig


class KVCache:
    """Preallocated keys and values, `(L, S, H, N, D)` each."""

    def __init__(
        self, config: ModelConfig, num_slots: int, *, device: torch.device, dtype: torch.dtype
    ) -> None:
        shape = (config.n_layer, num_slots, config.n_head, config.n_ctx, config.head_dim)
        # Zeros and not empty: a masked position still meets a weight of 0, and 0 · NaN is NaN.
        self.k = torch.zeros(shape, device=device, dtype=dtype)  # (L, S, H, N, D)
        self.v = torch.zeros_like(self.k)  # (L, S, H, N, D)

    def clear(self, slots: list[int]) -> None:
        """Forget what slots hold: what is no number reaches who gets them next, even masked."""
        self.k[:, slots] = 0
        self.v[:, slots] = 0

    @staticmethod
    def num_bytes(config: ModelConfig, num_slots: int, dtype: torch.dtype) -> int:
        """Return what a cache of that many slots takes."""
        return 2 * config.n_layer * num_slots * config.n_ctx * config.n_embd * dtype.itemsize

    def view(self, slots: list[int], starts: list[int], num_tokens: int) -> "CacheView":
        """Prepare one step: row b writes positions `starts[b] … starts[b] + num_tokens - 1`.

        Args:
            slots: the slot of each row, all different.
            starts: how many positions of each row's slot are filled already.
            num_tokens: T, the same for all rows.
        """
        device = self.k.device
        slot_column = torch.tensor(slots, device=device)[:, None]  # (B, 1)
        offsets = torch.arange(num_tokens, device=device)
        positions = torch.tensor(starts, device=device)[:, None] + offsets  # (B, T)
        length = max(starts) + num_tokens
        # Neighbouring slots are read in place; only scattered ones have to be copied together.
        first = slots[0]
        in_place = slots == list(range(first, first + len(slots)))
        return CacheView(
            k=self.k,
            v=self.v,
            slots=slot_column,
            rows=slice(first, first + len(slots)) if in_place else slot_column[:, 0],
            positions=positions,
            length=length,
            mask=_mask(positions, length),
        )


@dataclass(frozen=True, slots=True)
class CacheView:
    """The part of the cache that one step reads and writes."""

    k: Tensor  # (L, S, H, N, D)
    v: Tensor  # (L, S, H, N, D)
    slots: Tensor  # (B, 1)
    rows: slice | Tensor
    positions: Tensor  # (B, T)
    length: int
    """Positions that any row can see, after this step's own were written."""
    mask: Tensor | None
    """`(B, 1, T, length)` bool, True where a query sees a position; None: all see all."""

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write this step's keys and values and return all that the rows can see.

        Args:
            layer: index of the layer.
            k: `(B, T, H, D)`.
            v: `(B, T, H, D)`.

        Returns:
            Keys and values, `(B, H, length, D)` each.
        """
        seen = []
        for cache, new in ((self.k, k), (self.v, v)):
            store = cache[layer]  # (S, H, N, D)
            store.transpose(1, 2)[self.slots, self.positions] = new
            seen.append(store[self.rows, :, : self.length])  # (B, H, length, D)
        return seen[0], seen[1]


def _mask(positions: Tensor, length: int) -> Tensor | None:
    if positions.numel() == 1:
        return None
    seen = torch.arange(length, device=positions.device)
    return (seen <= positions[..., None])[:, None]  # (B, 1, T, length)
