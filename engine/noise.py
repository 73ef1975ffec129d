"""Owns the pseudo-random function behind every draw. Knows neither logits nor what keys it.

SplitMix64, Steele et al. 2014, figure 16: output number `token` of the stream begun at a key. All
arithmetic is on integers, so every device draws the same.
"""

import torch
from torch import Tensor

GOLDEN_GAMMA = 0x9E3779B97F4A7C15
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB
MASK_64 = 2**64 - 1


def mix(x: int) -> int:
    """Scatter the lowest 64 bits of a number; one to one."""
    x &= MASK_64
    x = ((x ^ (x >> 30)) * MIX_1) & MASK_64
    x = ((x ^ (x >> 27)) * MIX_2) & MASK_64
    return x ^ (x >> 31)


def output(key: int, number: int) -> int:
    """Return one output of the stream begun at a key, 0…2**64-1."""
    return mix(key + (number + 1) * GOLDEN_GAMMA)


def seed_key(seed: int, position: int) -> int:
    """Return the key of an unmarked draw, signed.

    Args:
        seed: of the request.
        position: place of the drawn token in the reply, from 0.
    """
    return signed(output(output(seed, 0), position))


def outputs(keys: Tensor, numbers: Tensor) -> Tensor:
    """Return what `output` gives for pairs, as signed 64-bit numbers.

    Args:
        keys: int64.
        numbers: int64, of a shape that broadcasts with it.
    """
    x = keys + (numbers + 1) * signed(GOLDEN_GAMMA)
    x = (x ^ _shift_right(x, 30)) * signed(MIX_1)
    x = (x ^ _shift_right(x, 27)) * signed(MIX_2)
    return x ^ _shift_right(x, 31)


def uniforms(keys: Tensor, numbers: Tensor) -> Tensor:
    """Return `outputs` as float64 in (0, 1)."""
    # 52 bits and a half: with one more, the highest would be rounded up to 1.
    return (_shift_right(outputs(keys, numbers), 12).double() + 0.5) * 2.0**-52


def gumbel(keys: Tensor, tokens: Tensor) -> Tensor:
    """Return standard Gumbel noise, float64, for pairs of key and token."""
    return -torch.log(-torch.log(uniforms(keys, tokens)))


def signed(x: int) -> int:
    """Return the number whose two's complement has the same 64 bits.

    >>> signed(2**64 - 1)
    -1
    """
    return x - 2**64 if x >= 2**63 else x


def _shift_right(x: Tensor, bits: int) -> Tensor:
    # PyTorch's shift of int64 keeps the sign; the mask makes it the logical one.
    return (x >> bits).bitwise_and(2 ** (64 - bits) - 1)
