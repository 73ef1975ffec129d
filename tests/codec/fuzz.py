"""Texts made to be hard to cut: many kinds of fragments, joined at random, the same every time."""

import random
from collections.abc import Callable, Iterator, Sequence

from codec.unicode16 import LETTERS, NUMBERS, WHITE_SPACE, Ranges
from codec.vocabulary import END_OF_TEXT

ODD_SPACES = " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u180e\u2000\u2007\u2009\u200a"
ODD_SPACES += "\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
CONTRACTIONS = (
    *("'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ll", "’s", "''s"),
    *("'", "''", " 's", "。's", "1't", "é're", "x'", "'\u0301s", "`s"),
)
EMOJI = (
    "👩\u200d👩\u200d👧\u200d👦",
    "🏳\ufe0f\u200d🌈",
    "👍🏽",
    "🇫🇷",
    "🤖",
    "#\ufe0f\u20e3",
    "❤\ufe0f",
)
MARKS = "\u0300\u0301\u0327\u0308\u0345\u05b0\u064b\u093e\u094d\u0e31\u0e48\u20d7\ufe0f\U000e0101"
SPECIAL = (END_OF_TEXT, "<|endoftext", "|>", "<|", " <|endoftext|>", "<|endoftext|>\n")
ASCII = [chr(byte) for byte in range(0x20, 0x7F)]
MAX_RUN_CHARS = 160

Fragment = Callable[[random.Random], str]


def texts(seed: int, natural: Sequence[str]) -> Iterator[str]:
    """Yield texts of 0 to about 100 characters for ever.

    Args:
        seed: of the choices.
        natural: texts from which pieces are cut, at any places.
    """
    rng = random.Random(seed)
    kinds: list[Fragment] = [
        _any_characters,
        _of_class(LETTERS),
        _of_class(NUMBERS),
        _of_class(WHITE_SPACE),
        _from(ODD_SPACES),
        _from(ODD_SPACES[:4]),
        _from(CONTRACTIONS),
        _from(EMOJI),
        _from(MARKS),
        _from(SPECIAL),
        _from(ASCII),
        _from(" a.'\n1é中"),
        _run,
        lambda rng: _slice(rng, rng.choice(natural)),
        lambda rng: _slice(rng, rng.choice(natural)),
        lambda rng: "\n" + " " * rng.randrange(12) + _slice(rng, rng.choice(natural)),
    ]
    while True:
        yield "".join(rng.choice(kinds)(rng) for _ in range(rng.randrange(7)))


def _any_characters(rng: random.Random) -> str:
    points = (rng.randrange(0x110000) for _ in range(rng.randrange(1, 6)))
    return "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)


def _of_class(ranges: Ranges) -> Fragment:
    def draw(rng: random.Random) -> str:
        chosen = (rng.choice(ranges) for _ in range(rng.randrange(1, 5)))
        return "".join(chr(rng.randint(low, high)) for low, high in chosen)

    return draw


def _from(fragments: Sequence[str]) -> Fragment:
    def draw(rng: random.Random) -> str:
        return "".join(rng.choices(fragments, k=rng.randrange(1, 5)))

    return draw


def _run(rng: random.Random) -> str:
    unit = rng.choice(("a", " ", "\n", "=", "-", "7", "é", "の", "🤖", "ab", "\t ", " \n", "'"))
    return unit * rng.randrange(rng.choice((4, 20, MAX_RUN_CHARS)))


def _slice(rng: random.Random, text: str) -> str:
    begin = rng.randrange(len(text))
    return text[begin : begin + rng.randrange(40)]
