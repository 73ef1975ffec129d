"""Marked text without a model: letters drawn as a sampler draws, from the key's own noise."""

import torch

from engine.noise import gumbel, seed_key
from engine.watermark import CONTEXT_TOKENS, WatermarkKey, subkey_of

KEY, OLD = WatermarkKey(bytes(range(32))), WatermarkKey(bytes(range(1, 33)))
LETTERS = torch.tensor(list(b"abcdefghijklmnopqrstuvwxyz "))


def marked_letters(key: WatermarkKey = KEY, *, num_letters: int = 200, seed: int = 0) -> str:
    """What a model that likes all letters alike writes; with the byte vocabulary, a token each."""
    written = list(b"begin")
    seen = set()
    for place in range(num_letters):
        context = tuple(written[-CONTEXT_TOKENS:])
        is_new = context not in seen
        seen.add(context)
        state = key.row_key(subkey_of(seed), context) if is_new else seed_key(seed, place)
        noise = gumbel(torch.tensor(state), LETTERS)
        written.append(int(LETTERS[noise.argmax()]))
    return bytes(written).decode()
