"""Where a text may be cut: between characters as people see them. Knows nothing of messages.

A part of Unicode's rules for extended grapheme clusters (UAX #29), chosen so that a place is judged
by what stands before it and the one character after it: a text that grows keeps its cuts.
"""

import unicodedata
from collections.abc import Iterator

MAX_CLUSTER_CHARS = 32
"""Longer heaps are cut anyway: the longest emoji sequence in use has ten characters."""

_FIRST_JOINING = "\u0300"
"""Below it nothing is joined to what stands before or behind."""
_ZWJ = "\u200d"
_ZWNJ = "\u200c"
_TAGS = range(0xE0020, 0xE0080)
_REGIONAL = range(0x1F1E6, 0x1F200)
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_JOINED_LETTERS = frozenset("\u0e33\u0eb3\uff9e\uff9f")
"""Letters by category that are a part of the one before: Thai and Lao am, halfwidth kana marks."""
_JOINED_TO_NEXT = frozenset(
    "\u0d4e\U000111c2\U000111c3\U0001193f\U00011941\U00011a84\U00011a85\U00011a86"
    "\U00011a87\U00011a88\U00011a89\U00011d46"
)
"""Letters that are a part of the one behind (Prepend), the unseen number signs aside."""
_LINKERS = frozenset(
    "\u094d\u09cd\u0acd\u0b4d\u0c4d\u0d4d\u1039\u17d2\u1a60\u1b44\u1bab\ua9c0\uaaf6"
    "\U00010a3f\U00011133\U0001193e\U00011a3a\U00011a47\U00011a99"
)
"""Marks that join two consonants into one, from Devanagari's to Khmer's (InCB=Linker)."""
_JAMO = range(0x1100, 0x1200)
_JAMO_TAIL = range(0x1160, 0x1200)
_JAMO_EXTENDED_HEAD = range(0xA960, 0xA97D)
_JAMO_EXTENDED_TAIL = range(0xD7B0, 0xD800)
_HANGUL = range(0xAC00, 0xD7A4)
_ANY_HANGUL = (_HANGUL, _JAMO, _JAMO_EXTENDED_HEAD, _JAMO_EXTENDED_TAIL)


def cluster_ends(text: str, start: int = 0) -> Iterator[int]:
    """Yield the index after each character as people see it, from `start` to the end.

    >>> list(cluster_ends("ne\u0301e"))
    [1, 3, 4]
    """
    cluster_start, num_regional = start, 0
    for index in range(start + 1, len(text)):
        before, char = text[index - 1], text[index]
        if before < _FIRST_JOINING and char < _FIRST_JOINING:
            yield index
            cluster_start = index
            continue
        num_regional = num_regional + 1 if ord(before) in _REGIONAL else 0
        joined = _is_joined(before, char) or (num_regional % 2 == 1 and ord(char) in _REGIONAL)
        if not joined or index - cluster_start >= MAX_CLUSTER_CHARS:
            yield index
            cluster_start = index
    if start < len(text):
        yield len(text)


def _is_joined(before: str, char: str) -> bool:
    if char.isascii():
        return before in _JOINED_TO_NEXT and char.isprintable()
    if before == "\n":
        return False
    if char in (_ZWJ, _ZWNJ) or before == _ZWJ or before in _JOINED_TO_NEXT:
        return True
    if ord(char) in _SKIN_TONES or ord(char) in _TAGS or char in _JOINED_LETTERS:
        return True
    category = unicodedata.category(char)
    if category in ("Mn", "Me", "Mc") or (category == "Lo" and before in _LINKERS):
        return True
    return _is_joined_hangul(ord(before), ord(char))


def _is_joined_hangul(before: int, char: int) -> bool:
    if char in _JAMO_TAIL or char in _JAMO_EXTENDED_TAIL:
        return any(before in some for some in _ANY_HANGUL)
    head = before in _JAMO_EXTENDED_HEAD or (before in _JAMO and before not in _JAMO_TAIL)
    return head and (char in _JAMO or char in _JAMO_EXTENDED_HEAD or char in _HANGUL)
