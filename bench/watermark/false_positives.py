"""Measures false positives: p-values of texts that people wrote, each with keys never used before.

The p-value that people are told pays for every window and subkey, so it is too high and never too
low. Before the correction, with one subkey and the whole window, it is exact; only that one can
be, and has to be, uniform.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from scipy import stats  # type: ignore[import-untyped]

from bench.watermark import human
from bench.watermark.figures import Share, found
from bench.watermark.writing import Ids, make_key
from codec.bpe import Tokenizer
from engine.watermark import CONTEXT_TOKENS, WatermarkKey, find_mark, token_scores

LENGTHS = (50, 100, 200, 400)
BOUNDS = (0.1, 1e-2, 1e-3, 1e-4, 1e-6)


@dataclass(frozen=True, slots=True)
class FalsePositives:
    """What was found in texts without the mark.

    Attributes:
        windows: how many different texts.
        told: p-values as people are told them, one for each window and key.
        exact: those of one subkey, in the same order.
        shares: of `told` below each bound.
        exact_shares: of `exact`.
        ks_statistic, ks_p_value: Kolmogorov and Smirnov's test of `exact` against uniform.
    """

    windows: int
    told: list[float]
    exact: list[float]
    shares: dict[float, Share]
    exact_shares: dict[float, Share]
    ks_statistic: float
    ks_p_value: float


def measure(tokenizers: Sequence[Tokenizer], stride: int, keys: int) -> FalsePositives:
    """Look for the mark in windows of WikiText-2 and LAMBADA.

    Args:
        tokenizers: every vocabulary has its own windows.
        stride: tokens from one window to the next.
        keys: that each window is tried with.
    """
    windows = list(_windows(tokenizers, stride))
    trials = [
        (ids, make_key(f"human {place} {number}"))
        for place, ids in enumerate(windows)
        for number in range(keys)
    ]
    told = [find_mark(ids, key).p_value for ids, key in trials]
    exact = [exact_p_value(ids, key) for ids, key in trials]
    test = stats.kstest(exact, "uniform")
    return FalsePositives(
        windows=len(windows),
        told=told,
        exact=exact,
        shares={bound: found(told, bound) for bound in BOUNDS},
        exact_shares={bound: found(exact, bound) for bound in BOUNDS},
        ks_statistic=float(test.statistic),
        ks_p_value=float(test.pvalue),
    )


def exact_p_value(ids: Ids, key: WatermarkKey) -> float:
    """Return the p-value of the whole text with the first subkey, before any correction."""
    seen: dict[tuple[int, ...], int] = {}
    for place in range(CONTEXT_TOKENS, len(ids)):
        seen.setdefault(tuple(ids[place - CONTEXT_TOKENS : place]), place)
    scores = token_scores(ids, list(seen.values()), key)[:, 0]
    count = torch.tensor(float(len(seen)), dtype=torch.float64)
    return float(torch.special.gammaincc(count, scores.sum()))


def _windows(tokenizers: Sequence[Tokenizer], stride: int) -> Iterator[Ids]:
    return chain.from_iterable(
        human.windows(tokenizer, LENGTHS, stride) for tokenizer in tokenizers
    )
