"""Owns low-rank adapters: put into a model, trained instead of it, merged into it. By `peft`.

Source: LoRA, Hu et al. 2021.
"""

from typing import Any

import torch

from engine.errors import EngineError
from engine.model import GPT2

TARGETS = ("c_attn", "c_proj", "c_fc")
"""Every linear layer of a block."""


class Adapter:
    """Adapters on every block of a model, in place; only they train.

    Args:
        model: whose own weights stay as they are from now on.
        rank: of the two matrices that an adapter multiplies.
        alpha: `alpha / rank` scales what an adapter adds.
        seed: of the adapters' first weights. They add nothing at first.

    Raises:
        EngineError: peft is not installed.
    """

    def __init__(self, model: GPT2, *, rank: int, alpha: int, seed: int) -> None:
        try:
            from peft import LoraConfig, LoraModel  # noqa: PLC0415 - seconds, and for few
        except ImportError as error:
            msg = "--lora-rank needs the package peft: pip install 'peft>=0.17'"
            raise EngineError(msg) from error
        config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(TARGETS), bias="none")
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._peft: Any = LoraModel(model, config, "default")

    def merge(self) -> None:
        """Add what the adapters learnt to the weights; the model is an ordinary one again."""
        self._peft.merge_and_unload()
