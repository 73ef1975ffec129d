"""Draws from the sampler, and the distribution that they should follow, in plain numbers."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from engine.noise import seed_key
from engine.sampler import SampleRow, sample
from tests.engine.support import make_params
from wire.jobs import SamplingParams

NUM_DRAWS = 8000
PLAIN = {"top_k": 0}
# Probabilities 0.4, 0.3, 0.15, 0.1, 0.05, not in order.
PROBABILITIES = [0.1, 0.4, 0.05, 0.3, 0.15]
LOGITS = [math.log(p) + 3 for p in PROBABILITIES]


def row(position: int = 0, seen: Sequence[int] = (), **params: Any) -> SampleRow:
    return row_of(make_params(**{**PLAIN, **params}), position, seen)


def row_of(params: SamplingParams, position: int = 0, seen: Sequence[int] = ()) -> SampleRow:
    """A row whose draw is not marked, so that its noise comes from the seed."""
    assert params.seed is not None
    return SampleRow(params, seed_key(params.seed, position), seen)


def draw(logits: Sequence[float], rows: Sequence[SampleRow]) -> list[int]:
    drawn: list[int] = sample(torch.tensor(logits).expand(len(rows), -1), rows).tolist()
    return drawn


def draws(logits: Sequence[float], number: int = NUM_DRAWS, **params: Any) -> Counter[int]:
    """Draw once for each of so many seeds."""
    return Counter(draw(logits, [row(seed=seed, **params) for seed in range(number)]))


def distribution(logits: Sequence[float], params: SamplingParams) -> dict[int, float]:
    """The distribution that the published definitions describe, in plain numbers."""
    scaled = {token: logit / params.temperature for token, logit in enumerate(logits)}
    order = sorted(scaled, key=lambda token: -scaled[token])
    if params.top_k:
        order = [token for token in order if scaled[token] >= scaled[order[params.top_k - 1]]]
    weights = {token: math.exp(scaled[token] - scaled[order[0]]) for token in order}
    total = sum(weights.values())
    kept, mass = [], 0.0
    for token in order:
        if mass >= params.top_p:
            break
        kept.append(token)
        mass += weights[token] / total
    total = sum(weights[token] for token in kept)
    return {token: weights[token] / total for token in kept}
