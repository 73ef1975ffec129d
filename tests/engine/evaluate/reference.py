"""The same numbers the slow way: one token at a time, by `transformers`, sharing no code.

Everything is spelled out anew: tokens are bytes, texts are cut and put together by hand, and every
probability comes from a run of its own over exactly the tokens before it.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

EOT = 256
N_CTX = 64


class SlowModel:
    """`GPT2LMHeadModel`, asked for one token at a time."""

    def __init__(self, transformers: ModuleType, folder: Path) -> None:
        self._model: Any = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()

    def log_prob(self, before: Sequence[int], token: int) -> float:
        assert 1 <= len(before) <= N_CTX
        with torch.no_grad():
            logits = self._model(torch.tensor([list(before)])).logits[0, -1]
        return float(torch.log_softmax(logits.double(), dim=0)[token])

    def total(self, context: Sequence[int], text: str) -> float:
        """Log-probability of a text behind a context of which as much is kept as fits."""
        scored = list(text.encode())
        kept = list(context)
        while len(kept) + len(scored) - 1 > N_CTX:
            kept.pop(0)
        return sum(
            self.log_prob(kept + scored[:index], token) for index, token in enumerate(scored)
        )

    def running_text(self, text: str, stride: int) -> float:
        """Loss in nats of a text that windows move over, by the definition of each position."""
        stream = [EOT, *text.encode()]
        last = len(stream) - 1
        nats = 0.0
        for position in range(1, last + 1):
            steps = max(0, math.ceil((position - N_CTX) / stride))
            window_end = min(N_CTX + steps * stride, last)
            start = max(0, window_end - N_CTX)
            nats -= self.log_prob(stream[start:position], stream[position])
        return nats
