"""Owns the watermark: the key, which draws it decides, and how likely a text is without it.

A draw is marked when its noise comes from the key and the tokens before it, where it would else
come from the seed and the position. Over all keys every draw still follows the model's own
distribution, so the mark costs no quality; who has the key finds that a text's tokens had high
noise.

Legend: n scored tokens, S subkeys.

Source: Aaronson 2022, "My AI Safety Lecture for UT Effective Altruism" (Gumbel draws keyed by the
last tokens); Fernandez et al. 2023, "Three Bricks to Consolidate Watermarks for Large Language
Models", section 3 (each context scored once, and then the exact law of the score).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.noise import mix, output, outputs, signed, uniforms

CONTEXT_TOKENS = 3
"""How many tokens key a draw: fewer survive more editing, more repeat less. `docs/watermark.md` has
what was measured for 1 to 5."""
NUM_SUBKEYS = 64
"""A text has one of so many, by its seed, so that another seed gives another text."""
KEY_BYTES = 32

SHORTEST_WINDOW = 32
STRIDE_TOKENS = SHORTEST_WINDOW // 2
"""All windows begin at multiples of it."""
CHUNK_TOKENS = 512
LEAST_P_VALUE = 1e-300
"""What lies below is rounded up to it: nothing is impossible."""

Context = tuple[int, ...]
Gram = tuple[int, ...]
"""A context and the token behind it."""


@dataclass(frozen=True, slots=True)
class WatermarkKey:
    """A secret of the installation. Shown is only its fingerprint, from which nothing follows.

    Attributes:
        secret: 32 bytes.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            msg = f"a watermark key has {KEY_BYTES} bytes, not {len(self.secret)}"
            raise ValueError(msg)

    @property
    def fingerprint(self) -> str:
        """Return eight digits that tell keys apart."""
        return self._hash(b"fingerprint", 4).hex()

    def state(self, context: Context) -> int:
        """Return the 64 bits that a context stands for under this key."""
        data = b"".join(token.to_bytes(4, "little") for token in context)
        return int.from_bytes(self._hash(data, 8), "little")

    def row_key(self, subkey: int, context: Context) -> int:
        """Return the state from which the draw behind a context starts, as `engine.noise` has it.

        Args:
            subkey: 0…63.
            context: the last `CONTEXT_TOKENS` ids.
        """
        return signed(output(self.state(context), subkey))

    def _hash(self, data: bytes, num_bytes: int) -> bytes:
        return hashlib.blake2b(data, key=self.secret, digest_size=num_bytes).digest()


def subkey_of(seed: int) -> int:
    """Return which of the subkeys a text of this seed is marked with."""
    return mix(seed) % NUM_SUBKEYS


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much of the mark there is.

    Attributes:
        num_scored: n, tokens that stand behind a context that was not there before.
        p_value: how likely a text that was written without the key is to show as much; the
            choice among subkeys and windows is paid for.
        first, last: the places of the tokens, from 0, between which it shows most.
    """

    num_scored: int
    p_value: float
    first: int
    last: int


def find_mark(ids: Sequence[int], key: WatermarkKey) -> Evidence:
    """Look for the mark in a text: `find_marks` for one."""
    return find_marks([ids], key)[0]


def find_marks(texts: Sequence[Sequence[int]], key: WatermarkKey) -> list[Evidence]:
    """Look for the mark in the whole of each text and in windows of it.

    The score of a token, -log(1 - u), is exponential without the key, so that of n of them follows
    Gamma(n, 1): the p-value is exact. The windows are of 32, 64, 128, … tokens, each half over the
    last one. What is tried is paid for (Bonferroni): half of the chance of a false alarm belongs
    to the whole text, half to its windows, and each subkey has an equal share of both.

    Args:
        texts: tokens. Readings of one text cost little more than one: what they share is scored
            once.
        key: which they may be marked with.
    """
    places = [_new_contexts(ids) for ids in texts]
    rows: dict[Gram, int] = {}
    indices = [
        torch.tensor(
            [rows.setdefault(gram, len(rows)) for gram in _grams(ids, at)], dtype=torch.long
        )
        for ids, at in zip(texts, places, strict=True)
    ]
    scores = _gram_scores(list(rows), key)  # (U, S)
    return [_evidence(scores, index, at) for index, at in zip(indices, places, strict=True)]


def _evidence(scores: Tensor, index: Tensor, places: Sequence[int]) -> Evidence:
    num_scored = len(places)
    if num_scored == 0:
        return Evidence(0, 1.0, 0, 0)
    strides = torch.split(index, STRIDE_TOKENS)
    sums = [scores[stride].sum(0) for stride in strides]
    totals = torch.stack([torch.zeros_like(sums[0]), *sums]).cumsum(0)  # (n / stride + 1, S)
    starts, ends = _windows(num_scored)  # (W,) each
    # Of windows of one length, and of their subkeys, the highest score is the least likely.
    best = (totals[-(-ends // STRIDE_TOKENS)] - totals[starts // STRIDE_TOKENS]).amax(1)  # (W,)
    p_values = torch.special.gammaincc((ends - starts).double(), best) * _price(len(starts))
    window = int(p_values.argmin())
    return Evidence(
        num_scored=num_scored,
        p_value=min(1.0, max(LEAST_P_VALUE, float(p_values[window]) * NUM_SUBKEYS)),
        first=places[int(starts[window])],
        last=places[int(ends[window]) - 1],
    )


def _new_contexts(ids: Sequence[int]) -> list[int]:
    """Return the places of tokens behind a context that is new: their scores are independent."""
    seen: set[Context] = set()
    places = []
    for place in range(CONTEXT_TOKENS, len(ids)):
        context = tuple(ids[place - CONTEXT_TOKENS : place])
        if context not in seen:
            seen.add(context)
            places.append(place)
    return places


def _grams(ids: Sequence[int], places: Sequence[int]) -> list[Gram]:
    return [tuple(ids[place - CONTEXT_TOKENS : place + 1]) for place in places]


def token_scores(ids: Sequence[int], places: Sequence[int], key: WatermarkKey) -> Tensor:
    """Return `(n, S)`: what the tokens at some places score under each subkey.

    Args:
        ids: the text's tokens.
        places: each with a whole context before it.
        key: which the text may be marked with.
    """
    return _gram_scores(_grams(ids, places), key)


def _gram_scores(grams: Sequence[Gram], key: WatermarkKey) -> Tensor:
    scores = torch.empty(len(grams), NUM_SUBKEYS, dtype=torch.float64)
    subkeys = torch.arange(NUM_SUBKEYS)
    # In chunks that stay in the processor's cache: that is several times as fast.
    for start in range(0, len(grams), CHUNK_TOKENS):
        chunk = grams[start : start + CHUNK_TOKENS]
        states = torch.tensor([signed(key.state(gram[:-1])) for gram in chunk])[:, None]
        tokens = torch.tensor([gram[-1] for gram in chunk])[:, None]
        u = uniforms(outputs(states, subkeys), tokens)
        scores[start : start + CHUNK_TOKENS] = -torch.log1p(-u)
    return scores


def _price(num_windows: int) -> Tensor:
    """Return `(W,)`: what the p-value of each window is multiplied by; the first is the whole."""
    if num_windows == 1:
        return torch.ones(1, dtype=torch.float64)
    prices = torch.full((num_windows,), 2.0 * (num_windows - 1), dtype=torch.float64)
    prices[0] = 2.0
    return prices


def _windows(num_scored: int) -> tuple[Tensor, Tensor]:
    starts, ends = [0], [num_scored]
    size = SHORTEST_WINDOW
    while size < num_scored:
        for start in range(0, num_scored - size // 2, size // 2):
            starts.append(start)
            ends.append(min(start + size, num_scored))
        size *= 2
    return torch.tensor(starts), torch.tensor(ends)
