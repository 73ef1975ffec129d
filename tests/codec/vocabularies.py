"""Vocabularies that nobody would train: merges drawn at random from the texts they are tried on."""

import random
from collections.abc import Iterable, Sequence

from codec.vocabulary import END_OF_TEXT, Vocabulary

NUM_BYTES = 256
MAX_TOKEN_BYTES = 12


def vocabulary_of(merges: Iterable[tuple[bytes, bytes]]) -> Vocabulary:
    """Return a vocabulary of all bytes, end of text, and what the merges make, in their order."""
    every = [*(bytes([byte]) for byte in range(NUM_BYTES)), END_OF_TEXT.encode()]
    ids = {token: token_id for token_id, token in enumerate(every) if token_id != NUM_BYTES}
    ranked: dict[tuple[int, int], tuple[int, int]] = {}
    for left, right in merges:
        merged = ids.setdefault(left + right, len(every))
        if merged == len(every):
            every.append(left + right)
        ranked.setdefault((ids[left], ids[right]), (len(ranked), merged))
    return Vocabulary(tuple(every), tuple(range(NUM_BYTES)), ranked, eot=NUM_BYTES)


def random_vocabulary(rng: random.Random, texts: Sequence[str]) -> Vocabulary:
    """Draw merges of bytes that stand side by side, also in the middle of a character."""
    tokens = {bytes([byte]) for byte in range(NUM_BYTES)}
    merges = []
    for _ in range(rng.choice((1, 10, 100, 400))):
        text = rng.choice(texts).encode()
        place = rng.randrange(len(text))
        left = rng.choice(_tokens_at(text, place, tokens))
        if place + len(left) == len(text):
            continue
        right = rng.choice(_tokens_at(text, place + len(left), tokens))
        merges.append((left, right))
        tokens.add(left + right)
    return vocabulary_of(merges)


def _tokens_at(text: bytes, place: int, tokens: set[bytes]) -> list[bytes]:
    ends = range(place + 1, min(place + MAX_TOKEN_BYTES, len(text)) + 1)
    return [text[place:end] for end in ends if text[place:end] in tokens]
