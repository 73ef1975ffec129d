"""Owns how a run is to train, and the learning rate that follows from it. Pure numbers.

Source: cosine schedule with warm-up as in Radford et al. 2018, section 4.1.
"""

import math
from dataclasses import dataclass

LOWEST_RATE_SHARE = 0.05
"""Where the cosine ends, as a share of the learning rate."""


@dataclass(frozen=True, slots=True)
class TrainingParams:
    """How to train.

    Attributes:
        epochs: passes over the training text.
        max_minutes: the schedule shrinks to end by then; None: no limit.
        batch_size: blocks in a batch.
        accumulate: batches in an optimisation step.
        block_tokens: tokens in a block, at most the model's context.
        learning_rate: the highest.
        warmup_steps: over which it rises.
        weight_decay: of AdamW.
        max_grad_norm: longer gradients are scaled down to it.
        seed: of the blocks' order.
        evaluate_every: steps between two looks at the held-out text; None: once an epoch.
        patience: how many such looks may bring nothing better before the run ends. The best
            weights are what remains then. None: it runs to its end, and the last ones remain.
        save_every_s: seconds between checkpoints.
    """

    epochs: float = 2.0
    max_minutes: float | None = None
    batch_size: int = 4
    accumulate: int = 1
    block_tokens: int = 1024
    learning_rate: float = 3e-4
    warmup_steps: int = 50
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0
    seed: int = 0
    evaluate_every: int | None = None
    patience: int | None = None
    save_every_s: float = 120.0

    @property
    def rows_per_step(self) -> int:
        """Return how many blocks an optimisation step takes, whoever computes them."""
        return self.batch_size * self.accumulate


def learning_rate(step: int, share_done: float, params: TrainingParams) -> float:
    """Return the rate of a step: up in a line, then down along a cosine, and there it stays.

    Args:
        step: counted from 0.
        share_done: of the run; above 1 where its time was cut short when it was stopped.
        params: of the run.

    >>> params = TrainingParams(learning_rate=1.0, warmup_steps=0)
    >>> [round(learning_rate(0, share, params), 3) for share in (0, 0.5, 1, 2)]
    [1.0, 0.525, 0.05, 0.05]
    """
    warm = min(1.0, (step + 1) / max(1, params.warmup_steps))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, share_done)))
    lowest = LOWEST_RATE_SHARE
    return params.learning_rate * warm * (lowest + (1 - lowest) * cosine)
