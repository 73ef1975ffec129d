"""Owns the texts that people wrote: prompts, windows of running text, and words to put elsewhere.

WikiText-2's test split with its detokenizer, and LAMBADA's passages; README.md beside the data has
their origins.
"""

import json
import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from codec.bpe import Tokenizer
from engine.evaluate.detokenize import wikitext_line

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
WIKITEXT = DATA / "eval/wikitext2/wiki.test.raw"
LAMBADA = DATA / "eval/lambada/lambada_test.jsonl"
VOCABULARY = DATA / "gpt2-vocab"
NEEDED = (WIKITEXT, LAMBADA, VOCABULARY)
PROMPT_TOKENS = 24


def missing() -> list[Path]:
    """Return what these measurements need and is not there."""
    return [path for path in NEEDED if not path.exists()]


@cache
def passages() -> tuple[str, ...]:
    """Return LAMBADA's passages."""
    lines = LAMBADA.read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line)["text"] for line in lines)


@cache
def articles() -> str:
    """Return WikiText-2's test split as its authors' pages had it."""
    lines = WIKITEXT.read_text(encoding="utf-8").splitlines()
    return "\n".join(wikitext_line(line) for line in lines if line.strip())


def prompts(tokenizer: Tokenizer, count: int) -> list[list[int]]:
    """Return the first tokens of passages, all prompts of one length."""
    ids = (tokenizer.encode(passage)[:PROMPT_TOKENS] for passage in passages())
    return [each for each in ids if len(each) == PROMPT_TOKENS][:count]


def windows(tokenizer: Tokenizer, lengths: Sequence[int], stride: int) -> Iterator[list[int]]:
    """Yield windows of running text, each so many tokens behind the last one.

    Args:
        tokenizer: gives the tokens.
        lengths: of the windows, in tokens, taken in turn.
        stride: tokens from the beginning of one window to that of the next.
    """
    place = 0
    for text in (articles(), "\n\n".join(passages())):
        ids = tokenizer.encode(text)
        for start in range(0, len(ids) - max(lengths), stride):
            yield ids[start : start + lengths[place % len(lengths)]]
            place += 1


@cache
def words() -> tuple[str, ...]:
    """Return the words of the articles in their order, as common as people use them."""
    return tuple(articles().split())


def excerpt(num_words: int, rng: random.Random) -> str:
    """Return so many words of an article that stand together."""
    start = rng.randrange(len(words()) - num_words)
    return " ".join(words()[start : start + num_words])
