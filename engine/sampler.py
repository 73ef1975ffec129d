"""Owns how logits become tokens, and how likely these were. Knows neither models nor slots.

Tokens are drawn by the Gumbel-max rule from noise that follows from the row's own key and the
token alone, so a draw never depends on the batch it rides in.

Legend: B rows, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.noise import gumbel
from engine.sequence import TokenScore
from wire.jobs import SamplingParams

LOWEST_TEMPERATURE = 1e-6
"""Below, float32 logits tell the most likely token from no other."""


@dataclass(frozen=True, slots=True)
class SampleRow:
    """What the sampler needs to know of one row.

    Attributes:
        params: how to sample.
        noise_key: signed 64 bits from which the row's noise starts, as `engine.noise` has it.
        seen: ids that the repetition penalty counts as seen; empty when it is off.
    """

    params: SamplingParams
    noise_key: int
    seen: Sequence[int] = ()


def sample(logits: Tensor, rows: Sequence[SampleRow]) -> Tensor:
    """Draw one token per row.

    The order is that of the published samplers: repetition penalty, temperature, top-k, top-p.
    Equal logits are kept or dropped together, so no row depends on how its neighbours are cut.

    Args:
        logits: `(B, V)`.
        rows: B of them.

    Returns:
        `(B,)` int64 ids on the device of `logits`.

    Raises:
        FloatingPointError: a row holds NaN or infinity where its highest logit should be.

    Source: Gumbel-max, Maddison et al. 2014; repetition penalty, Keskar et al. 2019, section 4.1;
    top-k, Fan et al. 2018; top-p (nucleus sampling), Holtzman et al. 2020, section 3.1.
    """
    logits = torch.stack([_penalised(*pair) for pair in zip(logits.float(), rows, strict=True)])
    highest = logits.amax(-1, keepdim=True)
    if not highest.isfinite().all():
        msg = "the model computed a logit that is no number: damaged weights or an overflow"
        raise FloatingPointError(msg)
    greedy = [row.params.temperature == 0 for row in rows]
    if all(greedy):
        return logits.argmax(dim=-1)
    divisors = [max(row.params.temperature, LOWEST_TEMPERATURE) for row in rows]
    # From the highest down, so that no temperature can make a logit overflow.
    scaled = logits - highest
    scaled /= torch.tensor(divisors, device=logits.device)[:, None]  # (B, V)
    kept = scaled >= _threshold(scaled, [row.params for row in rows])
    place, token = kept.nonzero(as_tuple=True)  # (N,), (N,)
    keys = torch.tensor([row.noise_key for row in rows], device=logits.device)
    scores = torch.full_like(scaled, -math.inf, dtype=torch.float64)
    scores[place, token] = scaled[place, token] + gumbel(keys[place], token)
    drawn = scores.argmax(dim=-1)  # (B,)
    if any(greedy):
        drawn = torch.where(torch.tensor(greedy, device=logits.device), logits.argmax(-1), drawn)
    return drawn


def score(logits: Tensor, token_ids: Sequence[int], num_top: int) -> tuple[TokenScore, ...]:
    """Return how likely each token was by the model's own distribution.

    Args:
        logits: `(B, V)`.
        token_ids: B of them.
        num_top: most likely tokens that are named beside each.
    """
    logprobs = logits.float().log_softmax(-1)  # (B, V)
    chosen = torch.tensor(token_ids, device=logits.device)[:, None]
    own: list[float] = logprobs.gather(1, chosen)[:, 0].tolist()
    top = logprobs.topk(min(num_top, logprobs.shape[-1]), dim=-1)
    return tuple(
        TokenScore(token_id, logprob, tuple(zip(ids, values, strict=True)))
        for token_id, logprob, ids, values in zip(
            token_ids, own, top.indices.tolist(), top.values.tolist(), strict=True
        )
    )


def _threshold(scaled: Tensor, params: list[SamplingParams]) -> Tensor:
    """Return `(B, 1)`: the lowest scaled logit that top-k and top-p keep in each row."""
    vocab = scaled.shape[-1]
    lowest = torch.full((len(params), 1), -math.inf, device=scaled.device)
    ks = [min(p.top_k, vocab) or vocab for p in params]
    nucleus = [place for place, p in enumerate(params) if p.top_p < 1]
    # A nucleus over the whole vocabulary needs all of it sorted, for its own rows only.
    for places in (
        [place for place, k in enumerate(ks) if k < vocab],
        [place for place in nucleus if ks[place] == vocab],
    ):
        if not places:
            continue
        index = torch.tensor(places, device=scaled.device)
        top = scaled[index].topk(max(ks[place] for place in places), dim=-1).values
        cut = torch.tensor([ks[place] for place in places], device=scaled.device)[:, None]
        kth = top.gather(1, cut - 1)
        # By place and not by value: how many of the tied are in `top` is the neighbours' doing.
        top = top.masked_fill(torch.arange(top.shape[-1], device=top.device) >= cut, -math.inf)
        lowest[index] = _nucleus(top, torch.tensor([params[p].top_p for p in places]).to(kth), kth)
    return lowest


def _nucleus(top: Tensor, top_p: Tensor, kth: Tensor) -> Tensor:
    """Return `(b, 1)`: the lowest of the descending `top` in the smallest set that reaches p.

    That is one token more than openai/gpt-2:src/sample.py keeps.
    """
    before = top.softmax(-1).cumsum(-1).roll(1, dims=-1)
    before[:, 0] = 0.0
    reached = torch.where(before < top_p[:, None], top, math.inf).amin(-1, keepdim=True)
    return torch.where(top_p[:, None] < 1, torch.maximum(reached, kth), kth)


def _penalised(logits: Tensor, row: SampleRow) -> Tensor:
    if not row.seen:
        return logits
    seen = torch.tensor(sorted(set(row.seen)), device=logits.device)
    values = logits[seen]
    penalty = row.params.repetition_penalty
    return logits.index_copy(0, seen, torch.where(values > 0, values / penalty, values * penalty))
