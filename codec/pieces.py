"""Owns where text may be cut: GPT-2's pieces, words and blocks. Knows no vocabulary.

A piece is what GPT-2's pattern matches; no token reaches over its ends. A word is a run of pieces
that begins with a space; text can be cut into words without looking at any pattern, so words are
what is remembered. A block is a stretch of words.

Why a cut before white space is safe: only a piece of white space holds any white space behind its
first character. So a piece ends wherever something else is followed by white space, and whatever
stood before cannot change how the rest is matched, since the pattern never looks back. A run of
white space gives its last character away if that is a space and something else follows. So a
piece begins at every space that has something other than white space on either side.

Source: the pattern is openai/gpt-2:src/encoder.py.
"""

import re
from collections.abc import Iterator

from codec.unicode16 import LETTERS, NUMBERS, WHITE_SPACE, Ranges

BLOCK_CHARS = 65_536
"""Text is encoded block by block, so that its words need not be in memory all at once."""
MASK = "\ud800"
"""Stands for a space that begins no word. It is no character: no text that is encoded holds it."""

# `\s` of Python holds U+001C to U+001F, which are not White_Space. The more a cut asks to be white
# space, the fewer spaces begin a word: that is safe. A block's end asks for four that both hold.
_INNER_SPACE = re.compile(r" (?<=\s )(?=\s|\Z)")
_BLOCK_END = re.compile(r"\S(?=[ \t\n\r])")

# `re` finds characters up to U+FFFF in a table, and goes through a list for those beyond. Emoji
# are common and no letter, number or white space is among them, so they need not go to the list.
_BEYOND_TABLE = 0x10000
_EMOJI = r"\U0001f110-\U0001fbef"
_LISTED = r"\U00010000-\U0001f10f\U0001fbf0-\U0010ffff"


def words(block: str) -> list[str]:
    """Cut a block at its words' first spaces, and drop these spaces.

    What stands before the first space comes first, and may be empty. In the other parts a `MASK`
    is a space.

    >>> words("a  b c")
    ['a', '', 'b', 'c']
    >>> len(words("   "))
    2
    """
    return _INNER_SPACE.sub(MASK, block).split(" ")


def blocks(text: str, num_chars: int = BLOCK_CHARS) -> Iterator[str]:
    r"""Cut text into parts that are encoded apart with the same result.

    Args:
        text: any.
        num_chars: length from which on a part ends at the first place that allows it; text without
            white space allows none.

    >>> list(blocks("one two\n\nthree", 2))
    ['one', ' two', '\n\nthree']
    """
    begin = 0
    while found := _BLOCK_END.search(text, begin + num_chars - 1):
        yield text[begin : found.end()]
        begin = found.end()
    yield text[begin:]


def _classes(ranges: Ranges) -> tuple[str, str]:
    """Return the inside of a pattern's brackets for the characters in `re`'s table, and beyond."""
    parts = ["", ""]
    for low, high in ranges:
        parts[low >= _BEYOND_TABLE] += rf"\U{low:08x}-\U{high:08x}"
    return parts[0], parts[1]


def _pattern() -> str:
    letter, rare_letter = _classes(LETTERS)
    number, rare_number = _classes(NUMBERS)
    space, _ = _classes(WHITE_SPACE)
    letters = f"(?:[{letter}]++|(?=[{_LISTED}])[{rare_letter}]++)++"
    numbers = f"(?:[{number}]++|(?=[{_LISTED}])[{rare_number}]++)++"
    others = (
        rf"(?:[^{letter}{number}{space}\U00010000-\U0010ffff]++|[{_EMOJI}]++"
        rf"|(?=[{_LISTED}])[^\x00-\uffff{_EMOJI}{rare_letter}{rare_number}]++)++"
    )
    spaces = f"[{space}]+(?![^{space}])|[{space}]+"
    return f"'(?:[sdmt]|ll|ve|re)| ?{letters}| ?{numbers}| ?{others}|{spaces}"


PIECE = re.compile(_pattern())
"""Cuts text into pieces: contractions; letters, numbers or anything else, with a space in front if
there is one; white space, less the last of it where something follows."""
