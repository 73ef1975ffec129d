"""The sampler: supports and scores by hand, and no row that minds its batch."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.sampler import sample, score
from tests.engine.sampling import LOGITS, distribution, draw, draws, row, row_of
from tests.engine.support import make_params
from wire.jobs import SamplingParams


def test_temperature_zero_takes_the_most_likely_token():
    logits = torch.randn(50, 301, generator=torch.Generator().manual_seed(0))
    rows = [row(seed=seed, temperature=0) for seed in range(50)]
    assert sample(logits, rows).tolist() == logits.argmax(-1).tolist()


def test_temperature_zero_stays_greedy_beside_rows_that_draw():
    rows = [row(seed=seed, temperature=seed % 2 * 2) for seed in range(200)]
    drawn = draw(LOGITS, rows)
    assert set(drawn[::2]) == {1}
    assert len(set(drawn[1::2])) == 5


@pytest.mark.parametrize(
    ("params", "support"),
    [
        ({}, {0, 1, 2, 3, 4}),
        ({"top_k": 1}, {1}),
        ({"top_k": 2}, {1, 3}),
        ({"top_k": 3}, {1, 3, 4}),
        ({"top_k": 5}, {0, 1, 2, 3, 4}),
        ({"top_k": 50257}, {0, 1, 2, 3, 4}),
        # The sums are 0.4, 0.7, 0.85, 0.95, 1: the smallest set that reaches p.
        ({"top_p": 0.01}, {1}),
        ({"top_p": 0.39}, {1}),
        ({"top_p": 0.41}, {1, 3}),
        ({"top_p": 0.69}, {1, 3}),
        ({"top_p": 0.71}, {1, 3, 4}),
        ({"top_p": 0.96}, {0, 1, 2, 3, 4}),
        # Of the three that top-k keeps, the sums are 0.47, 0.82, 1.
        ({"top_k": 3, "top_p": 0.46}, {1}),
        ({"top_k": 3, "top_p": 0.48}, {1, 3}),
        ({"top_k": 3, "top_p": 0.83}, {1, 3, 4}),
        # At half the temperature the probabilities are squared: the sums are 0.561, 0.877.
        ({"temperature": 0.5, "top_p": 0.55}, {1}),
        ({"temperature": 0.5, "top_p": 0.57}, {1, 3}),
    ],
    ids=str,
)
def test_only_what_top_k_and_top_p_keep_is_ever_drawn(params: dict[str, Any], support: set[int]):
    assert set(draws(LOGITS, 1500, **params)) == support


@pytest.mark.parametrize("seed", [3, 13, 25])
def test_a_top_p_just_below_1_does_not_widen_top_k(seed: int):
    # With these logits the float32 probabilities of the forty add up to a little less than p.
    logits = torch.randn(300, generator=torch.Generator().manual_seed(seed))
    rows = [row(seed=seed, top_k=40, top_p=1 - 2.0**-24) for seed in range(300)]
    drawn = draw(logits.tolist(), [*rows, row(top_k=80)])
    assert set(drawn[:-1]) <= set(logits.topk(40).indices.tolist())


def test_tokens_as_likely_as_the_last_of_top_k_are_kept_with_it():
    assert set(draws([1.0, 3.0, 2.0, 2.0, 2.0], 500, top_k=2)) == {1, 2, 3, 4}


def test_tokens_as_likely_as_the_last_of_top_p_are_kept_with_it():
    assert set(draws([0.0] * 4, 500, top_p=0.3)) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([], 0),
        ([0], 1),  # 4 / 2 = 2 falls behind 3
        ([0, 1], 0),  # 4 / 2 = 2 against 3 / 2 = 1.5
        ([0, 1, 0, 0], 0),  # once is as often as thrice
        ([2], 0),
    ],
    ids=str,
)
def test_the_repetition_penalty_divides_likely_tokens(seen: list[int], expected: int):
    rows = [row(seen=seen, temperature=0, repetition_penalty=2.0)]
    assert draw([4.0, 3.0, -1.0], rows) == [expected]


def test_the_repetition_penalty_multiplies_unlikely_tokens():
    # -1 * 2 = -2 falls behind -1.5; dividing would have raised it.
    rows = [row(seen=[0], temperature=0, repetition_penalty=2.0)]
    assert draw([-1.0, -1.5], rows) == [1]


@pytest.mark.parametrize("temperature", [5e-324, 1e-45, 1e-6, 1e-3, 0.1, 1.0, 2.0])
def test_no_temperature_breaks_the_arithmetic(temperature: float):
    for logits in ([-math.inf, -1e4, 1e4, 9e3], [-math.inf, 0.0, 0.0, 0.0], [-9e4, -3e4, -3e4]):
        counts = draws(logits, 200, temperature=temperature)
        best = max(logits)
        # Differences of thousands leave the others no chance at any temperature up to 2.
        assert {logits[token] for token in counts} == {best}


def test_the_lowest_temperature_still_tells_neighbours_apart():
    assert set(draws([1.0, 1.001, 0.999], 200, temperature=1e-6)) == {1}


@pytest.mark.parametrize("params", [{}, {"top_k": 3}, {"top_p": 0.999}, {"top_k": 4, "top_p": 0.9}])
def test_an_impossible_token_is_never_drawn(params: dict[str, Any]):
    logits = [0.0, -math.inf, 0.0, -math.inf, 0.0]
    assert set(draws(logits, 300, **params)) == {0, 2, 4}


def test_different_seeds_write_different_texts():
    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(0)).expand(20, 50)
    texts = {
        tuple(sample(logits, [row(position, seed=seed) for position in range(20)]).tolist())
        for seed in (0, 1, 2, 3, 2**53, 2**62, 2**63 - 1)
    }
    assert len(texts) == 7


params_of_any_kind = st.builds(
    make_params,
    seed=st.integers(0, 2**63 - 1),
    temperature=st.sampled_from([0.0, 1e-6, 0.3, 1.0, 2.0]) | st.floats(0, 2),
    top_k=st.integers(0, 6),
    top_p=st.sampled_from([0.2, 0.4, 0.5, 0.6, 0.7, 0.9, 1.0]) | st.floats(0.01, 1.0),
    repetition_penalty=st.sampled_from([1.0, 1.3, 2.0]),
)
# Whole numbers make ties, which half precision makes all the time.
logits_of_any_kind = st.lists(st.integers(-3, 3), min_size=8, max_size=8)
row_of_any_kind = st.tuples(
    logits_of_any_kind, params_of_any_kind, st.lists(st.integers(0, 7), max_size=4)
)


@settings(max_examples=100, deadline=None)
@given(batch=st.lists(row_of_any_kind, min_size=2, max_size=5))
def test_a_row_draws_in_any_batch_what_it_draws_alone(
    batch: list[tuple[list[int], SamplingParams, list[int]]],
):
    drawn_alone, rows = [], []
    for logits, params, seen in batch:
        own = [row_of(params, position, seen) for position in range(10)]
        drawn_alone += draw([logit / 2 for logit in logits], own)
        rows += own
    together = torch.tensor([logits for logits, *_ in batch]).repeat_interleave(10, dim=0) / 2
    assert sample(together, rows).tolist() == drawn_alone


def test_ties_at_the_end_of_top_k_do_not_let_a_neighbour_widen_top_p():
    # Alone, 3 has e/(e + 1) = 0.73 of the two that top-k keeps, which reaches 0.6.
    logits = [3.0, 2.0, 2.0, 2.0, 0.0]
    narrow = [row(seed=seed, top_k=2, top_p=0.6) for seed in range(300)]
    wide = [row(seed=seed, top_k=4) for seed in range(300)]
    assert draw(logits, narrow + wide)[:300] == draw(logits, narrow)


@settings(max_examples=200, deadline=None)
@given(
    logits=st.lists(st.integers(-60, 60), min_size=4, max_size=12, unique=True),
    params=params_of_any_kind.filter(lambda params: params.temperature > 0.05),
)
def test_whatever_is_drawn_has_a_chance_by_the_published_definitions(
    logits: list[int], params: SamplingParams
):
    params = params.model_copy(update={"top_k": min(params.top_k, len(logits))})
    possible = distribution([logit / 20 for logit in logits], params)
    rows = [row_of(params.model_copy(update={"seed": seed})) for seed in range(20)]
    assert set(draw([logit / 20 for logit in logits], rows)) <= set(possible)


def test_half_precision_logits_are_drawn_from_in_full_precision():
    logits = torch.tensor([LOGITS], dtype=torch.bfloat16)
    rows = [row(seed=5)]
    assert sample(logits, rows).tolist() == sample(logits.float(), rows).tolist()


def test_logits_are_left_as_they_were():
    logits = torch.tensor([LOGITS])
    before: Tensor = logits.clone()
    sample(logits, [row(seen=[0, 1], repetition_penalty=2.0, top_k=2, top_p=0.5)])
    assert torch.equal(logits, before)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_are_an_error_and_no_text(temperature: float):
    logits = torch.full((1, 8), math.nan)
    with pytest.raises(FloatingPointError, match="no number"):
        sample(logits, [row_of(SamplingParams(seed=1, temperature=temperature))])


def test_a_score_is_the_log_of_the_models_own_probability_with_the_likeliest_beside_it():
    scores = score(torch.tensor([LOGITS, LOGITS[::-1]]), [2, 2], num_top=2)
    first, second = scores
    assert first.logprob == pytest.approx(math.log(0.05))
    assert [token_id for token_id, _ in first.top] == [1, 3]
    assert [logprob for _, logprob in first.top] == pytest.approx([math.log(0.4), math.log(0.3)])
    assert second.logprob == pytest.approx(math.log(0.05))
    assert [token_id for token_id, _ in second.top] == [3, 1]


@pytest.mark.parametrize(("num_top", "expected"), [(0, 0), (5, 5), (20, 5)])
def test_no_more_tokens_are_named_than_are_asked_for_or_there_are(num_top: int, expected: int):
    [only] = score(torch.tensor([LOGITS]), [0], num_top=num_top)
    assert len(only.top) == expected
