"""Owns GPT-2's forward pass. Knows neither sampling nor scheduling.

Legend: B rows, T tokens per row, C width, H heads, D head width, V vocabulary.

Checked against `GPT2LMHeadModel` of huggingface/transformers. Modules carry the names of the
published checkpoints (`wte`, `h.0.attn.c_attn`, …); their linear weights are stored transposed.

Source: Radford et al. 2019; openai/gpt-2:src/model.py.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every PyTorch user knows
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from engine.config import ModelConfig
from engine.kv_cache import CacheView


class Attention(nn.Module):
    """Causal self-attention, over the cache when there is one."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.n_head = config.n_head
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)

    def forward(self, x: Tensor, cache: CacheView | None) -> Tensor:
        """Map `(B, T, C)` to `(B, T, C)`."""
        rows, tokens, width = x.shape
        qkv = self.c_attn(x).view(rows, tokens, 3, self.n_head, width // self.n_head)
        q, k, v = qkv.unbind(dim=2)  # (B, T, H, D) each
        mask = None
        if cache is None:
            k, v = k.transpose(1, 2), v.transpose(1, 2)  # (B, H, T, D)
        else:
            k, v = cache.extend(self.layer, k, v)  # (B, H, length, D)
            mask = cache.mask
        y = F.scaled_dot_product_attention(
            q.transpose(1, 2), k, v, attn_mask=mask, is_causal=cache is None
        )  # (B, H, T, D)
        out: Tensor = self.c_proj(y.transpose(1, 2).reshape(rows, tokens, width))
        return out


class MLP(nn.Module):
    """The two-layer perceptron of a block, with the tanh form of GELU."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, T, C)` to `(B, T, C)`."""
        out: Tensor = self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))
        return out


class Block(nn.Module):
    """One pre-LN transformer block."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = Attention(config, layer)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, cache: CacheView | None) -> Tensor:
        """Map `(B, T, C)` to `(B, T, C)`."""
        x = x + self.attn(self.ln_1(x), cache)
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class GPT2(nn.Module):
    """GPT-2 with its output head tied to the token embeddings.

    Attributes:
        recomputes: whether training keeps only what enters each block, and computes the block
            again on the way back (gradient checkpointing, Chen et al. 2016). Off when made.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.recomputes = False
        self.wte = nn.Embedding(config.n_vocab, config.n_embd)
        self.wpe = nn.Embedding(config.n_ctx, config.n_embd)
        self.h = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def forward(self, ids: Tensor, cache: CacheView | None = None) -> Tensor:
        """Run the blocks.

        Args:
            ids: `(B, T)` int64 token ids.
            cache: where the rows' earlier positions are and these are written; None: the rows
                begin at position 0 and nothing is kept.

        Returns:
            `(B, T, C)` hidden states after the last layer norm.
        """
        if cache is None:
            positions = torch.arange(ids.shape[1], device=ids.device)
        else:
            positions = cache.positions
        x = self.wte(ids) + self.wpe(positions)  # (B, T, C)
        recomputes = self.recomputes and torch.is_grad_enabled()
        for block in self.h:
            x = checkpoint(block, x, cache, use_reentrant=False) if recomputes else block(x, cache)
        out: Tensor = self.ln_f(x)
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        """Map hidden states `(…, C)` to logits `(…, V)`."""
        return F.linear(hidden, self.wte.weight)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights: N(0, 0.02), residual projections scaled by 1/sqrt(2 · n_layer).

        Source: Radford et al. 2019, section 2.3.
        """
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
            elif "ln_" in name:
                weight.fill_(1.0)
            else:
                residual = name.endswith("c_proj.weight")
                deviation = 0.02 / (2 * self.config.n_layer) ** 0.5 if residual else 0.02
                weight.normal_(0.0, deviation, generator=generator)
