"""How often the sampler draws what: by chi-squared, as the published definitions have it.

The tests draw from fixed seeds, so they always end alike. `ODDS` is the chance that a right sampler
would have failed for a given choice of seeds.
"""

import math
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]

from tests.engine.sampling import (
    LOGITS,
    NUM_DRAWS,
    PLAIN,
    PROBABILITIES,
    distribution,
    draw,
    draws,
    row,
)
from tests.engine.support import make_params

ODDS = 1e-4


def test_the_repetition_penalty_shifts_the_frequencies_as_worked_out_by_hand():
    # log 9 / 2 = log 3: 9 to 1 becomes 3 to 1.
    counts = Counter(
        draw(
            [math.log(9), 0.0],
            [row(seed=s, seen=[0], repetition_penalty=2.0) for s in range(NUM_DRAWS)],
        )
    )
    assert_drawn_as(counts, {0: 0.75, 1: 0.25})


def assert_drawn_as(counts: Counter[int], expected: dict[int, float]) -> None:
    assert set(counts) <= set(expected)
    number = sum(counts.values())
    observed = [counts[token] for token in expected]
    wanted = [number * probability for probability in expected.values()]
    assert min(wanted) >= 5, "the chi-squared test needs more draws"
    assert stats.chisquare(observed, wanted).pvalue > ODDS


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 1.8},
        {"top_k": 3},
        {"top_p": 0.8},
        {"temperature": 1.5, "top_k": 4, "top_p": 0.9},
    ],
    ids=str,
)
def test_frequencies_over_seeds_are_the_probabilities(params: dict[str, Any]):
    expected = distribution(LOGITS, make_params(**{**PLAIN, **params}))
    assert_drawn_as(draws(LOGITS, **params), expected)


def test_frequencies_over_positions_are_the_probabilities():
    rows = [row(position, seed=11) for position in range(NUM_DRAWS)]
    assert_drawn_as(Counter(draw(LOGITS, rows)), dict(enumerate(PROBABILITIES)))


def test_draws_of_neighbouring_positions_and_seeds_are_independent():
    for rows in (
        [row(position, seed=3) for position in range(NUM_DRAWS + 1)],
        [row(7, seed=seed) for seed in range(NUM_DRAWS + 1)],
    ):
        drawn = draw(LOGITS, rows)
        table = torch.zeros(5, 5, dtype=torch.int64)
        for one, following in pairwise(drawn):
            table[one, following] += 1
        assert stats.chi2_contingency(table.numpy()).pvalue > ODDS


def test_every_token_of_a_large_vocabulary_is_drawn_as_often():
    counts = draws([0.0] * 300)
    assert_drawn_as(counts, dict.fromkeys(range(300), 1 / 300))


@pytest.mark.parametrize("temperature", [1e-6, 1.0, 2.0])
def test_equal_logits_are_equally_likely_at_any_temperature(temperature: float):
    counts = draws([5.0] * 4, temperature=temperature)
    assert_drawn_as(counts, dict.fromkeys(range(4), 0.25))
