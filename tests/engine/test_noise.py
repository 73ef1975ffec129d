"""The sampler's noise against a slow twin in plain Python integers, which can't overflow."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.noise import gumbel, seed_key
from tests.engine.sampling import LOGITS, draw, row

MASK_64 = 2**64 - 1


class SplitMix64:
    """The generator as published, in plain integers: slow, and nothing can overflow."""

    def __init__(self, state: int) -> None:
        self.state = state & MASK_64

    def next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK_64
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK_64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK_64
        return z ^ (z >> 31)


def plain_gumbel(output: int) -> float:
    return -math.log(-math.log((2 * (output >> 12) + 1) / 2**53))


def test_the_slow_twin_gives_the_published_test_vector():
    twin = SplitMix64(1234567)
    assert [twin.next() for _ in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@settings(max_examples=100, deadline=None)
@given(key=st.integers(-(2**63), 2**63 - 1))
def test_the_noise_is_that_of_the_slow_twin(key: int):
    twin = SplitMix64(key)
    expected = [plain_gumbel(twin.next()) for _ in range(40)]
    noise = gumbel(torch.full((40,), key), torch.arange(40))
    assert noise.dtype == torch.float64
    assert noise.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), position=st.integers(0, 1023))
def test_a_rows_key_is_that_of_the_slow_twin(seed: int, position: int):
    # The seed's generator gives one number, from which the positions' generator begins.
    positions = SplitMix64(SplitMix64(seed).next())
    for _ in range(position):
        positions.next()
    assert seed_key(seed, position) & MASK_64 == positions.next()
    assert -(2**63) <= seed_key(seed, position) < 2**63


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), position=st.integers(0, 1023))
def test_the_token_drawn_is_the_one_that_the_slow_twin_draws(seed: int, position: int):
    twin = SplitMix64(seed_key(seed, position))
    scores = [logit + plain_gumbel(twin.next()) for logit in LOGITS]
    assert draw(LOGITS, [row(position, seed=seed)]) == [scores.index(max(scores))]


def key_of(output: int) -> int:
    """Run SplitMix64 backwards: the key whose first number is `output`."""
    z = output ^ (output >> 31) ^ (output >> 62)
    z = (z * pow(0x94D049BB133111EB, -1, 2**64)) & MASK_64
    z ^= (z >> 27) ^ (z >> 54)
    z = (z * pow(0xBF58476D1CE4E5B9, -1, 2**64)) & MASK_64
    z ^= (z >> 30) ^ (z >> 60)
    key = (z - 0x9E3779B97F4A7C15) & MASK_64
    return key - 2**64 if key >= 2**63 else key


@pytest.mark.parametrize("output", [0, 1, 2**63 - 1, 2**63, MASK_64 - 1, MASK_64])
def test_the_noise_is_finite_at_both_ends_of_the_generator(output: int):
    key = key_of(output)
    assert SplitMix64(key).next() == output
    noise = gumbel(torch.tensor([key]), torch.tensor([0])).item()
    assert -5 < noise < 40
