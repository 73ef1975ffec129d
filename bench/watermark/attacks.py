"""Owns what is done to a text before it is looked at. Knows neither models nor marks.

Every change keeps the words that it does not mean to change, and the white space before them.
"""

import random
import re
import string
from collections.abc import Callable, Mapping

from bench.watermark import human

Attack = Callable[[str, random.Random], str]
ALTERNATE_WORDS = 20
_WORD = re.compile(r"\s*\S+")
_MARKS = str.maketrans("", "", string.punctuation + "“”\u2018’–—…")
_TYPOGRAPHIC = (
    (re.compile(r'(?<!\S)"'), "“"),
    (re.compile(r'"'), "”"),
    (re.compile(r"(?<!\S)'"), "\u2018"),
    (re.compile(r"'"), "’"),
)


def replace_words(text: str, share: float, rng: random.Random) -> str:
    """Put words that people wrote elsewhere in the place of a share of the words, 0…1."""
    words = _WORD.findall(text)
    for place in _some(len(words), share, rng):
        blank = words[place][: len(words[place]) - len(words[place].lstrip())]
        words[place] = blank + rng.choice(human.words())
    return "".join(words)


def delete_words(text: str, share: float, rng: random.Random) -> str:
    """Leave out a share of the words, 0…1.

    >>> delete_words("one two three four", 0.5, random.Random(1))
    'one four'
    """
    words = _WORD.findall(text)
    gone = set(_some(len(words), share, rng))
    return "".join(word for place, word in enumerate(words) if place not in gone)


def cut_middle(text: str) -> str:
    """Leave out the middle half of the words.

    >>> cut_middle("a b c d e f g h")
    'a b g h'
    """
    words = _WORD.findall(text)
    quarter = len(words) // 4
    return "".join(words[:quarter] + words[len(words) - quarter :])


def surround(text: str, rng: random.Random) -> str:
    """Put half as many human words before a text and as many behind it."""
    half = len(_WORD.findall(text)) // 2
    return f"{human.excerpt(half, rng)}{text}{human.excerpt(half, rng)}"


def alternate(text: str, rng: random.Random) -> str:
    """Put as many human words behind every twenty of a text."""
    words = _WORD.findall(text)
    runs = (
        "".join(words[start : start + ALTERNATE_WORDS])
        for start in range(0, len(words), ALTERNATE_WORDS)
    )
    return "".join(f"{run} {human.excerpt(ALTERNATE_WORDS, rng)}" for run in runs)


def drop_punctuation(text: str) -> str:
    r"""Leave out every mark of punctuation.

    >>> drop_punctuation('"It\'s so," he said.')
    'Its so he said'
    """
    return text.translate(_MARKS)


def make_typographic(text: str) -> str:
    r"""Bend straight quotes, as word processors do.

    >>> make_typographic('"It\'s so," he said.')
    '“It’s so,” he said.'
    """
    for pattern, bent in _TYPOGRAPHIC:
        text = pattern.sub(bent, text)
    return text


ATTACKS: Mapping[str, Attack] = {
    "as it was written": lambda text, _: text,
    "10 % of the words replaced": lambda text, rng: replace_words(text, 0.1, rng),
    "20 % of the words replaced": lambda text, rng: replace_words(text, 0.2, rng),
    "40 % of the words replaced": lambda text, rng: replace_words(text, 0.4, rng),
    "20 % of the words deleted": lambda text, rng: delete_words(text, 0.2, rng),
    "middle half cut out": lambda text, _: cut_middle(text),
    "between as much human text": surround,
    "every 20 words, 20 human ones": alternate,
    "all in lower case": lambda text, _: text.lower(),
    "no punctuation": lambda text, _: drop_punctuation(text),
    "lower case, no punctuation": lambda text, _: drop_punctuation(text.lower()),
    "typographic quotes": lambda text, _: make_typographic(text),
}
INTACT = "as it was written"
ONE_IN_FIVE = "20 % of the words replaced"


def damaged(text: str, attack: str, place: int) -> str:
    """Return a text after an attack that is the same every time for a place in the line."""
    return ATTACKS[attack](text, random.Random(f"{attack} {place}"))


def _some(count: int, share: float, rng: random.Random) -> list[int]:
    return rng.sample(range(count), round(count * share))
