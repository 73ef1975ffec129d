"""Where a text may be cut: between characters as people see them. Knows nothing of messages.

A part of Unicode's rules for extended grapheme clusters (UAX #29), chosen so that a place is judged
by what stands before it and the one character after it: a text that grows keeps its cuts.
"""

import unicodedata
from collections.abc import Iterator

MAX_CLUSTER_CHARS = 32
"""Longer heaps are cut anyway: the longest emoji sequence in use has ten characters."""

_ZWJ = "\u200d"
_ZWNJ = "\u200c"
_REGIONAL = range(0x1F1E6, 0x1F200)
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_JAMO = range(0x1100, 0x1200)
_JAMO_TAIL = range(0x1160, 0x1200)
_JAMO_EXTENDED_HEAD = range(0xA960, 0xA97D)
_JAMO_EXTENDED_TAIL = range(0xD7B0, 0xD800)
_HANGUL = range(0xAC00, 0xD7A4)


def cluster_ends(text: str, start: int = 0) -> Iterator[int]:
    """Yield the index after each character as people see it, from `start` to the end.

    >>> list(cluster_ends("ne\u0301e"))
    [1, 3, 4]
    """
    cluster_start, num_regional = start, 0
    for index in range(start + 1, len(text)):
        before, char = text[index - 1], text[index]
        num_regional = num_regional + 1 if ord(before) in _REGIONAL else 0
        joined = _is_joined(before, char) or (num_regional % 2 == 1 and ord(char) in _REGIONAL)
        if not joined or index - cluster_start >= MAX_CLUSTER_CHARS:
            yield index
            cluster_start = index
    if start < len(text):
        yield len(text)


def _is_joined(before: str, char: str) -> bool:
    if char.isascii():
        return False
    if before == "\n":
        return False
    if char in (_ZWJ, _ZWNJ) or before == _ZWJ or ord(char) in _SKIN_TONES:
        return True
    if unicodedata.category(char) in ("Mn", "Me", "Mc"):
        return True
    return _is_joined_hangul(ord(before), ord(char))


def _is_joined_hangul(before: int, char: int) -> bool:
    if char in _JAMO_TAIL or char in _JAMO_EXTENDED_TAIL:
        return before in _HANGUL or before in _JAMO or before in _JAMO_EXTENDED_TAIL
    head = before in _JAMO_EXTENDED_HEAD or (before in _JAMO and before not in _JAMO_TAIL)
    return head and (char in _JAMO or char in _JAMO_EXTENDED_HEAD or char in _HANGUL)
