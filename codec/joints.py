"""Owns where a vocabulary lets text be cut into parts. Knows no ids.

A joint is a place between two characters that some token may reach over. Elsewhere text can be cut
and the parts encoded apart: no merge ever joins what no token holds together. GPT-2 has hardly a
token of two characters outside ASCII, so there most parts are single characters, which makes
scripts without spaces quick to encode.
"""

import re
from collections.abc import Iterable
from itertools import chain

from codec.unicode16 import WHITE_SPACE

_CONTRACTIONS = (b"'s", b"'d", b"'m", b"'t", b"'ll", b"'ve", b"'re")
"""Pieces of their own, but only while they are whole."""
_ASCII_END = 0x80
_BMP_END = 0x10000
_BEYOND_BMP = range(_BMP_END, 0x110000)
_CONTINUATION = range(0x80, 0xC0)
_HEAD_BYTES = {range(0xC2, 0xE0): 2, range(0xE0, 0xF0): 3, range(0xF0, 0xF5): 4}


def part_pattern(tokens: Iterable[bytes]) -> re.Pattern[str]:
    """Return a pattern that cuts text into parts without a joint inside.

    It asks whether some token has the one character before a joint, and some token the other one
    behind: that keeps more together than need be, and never less. Three more things stay together,
    because without them GPT-2's pattern would cut differently: white space with what follows it,
    an apostrophe with what precedes it, and what may be a contraction.

    Args:
        tokens: the bytes of each.

    >>> part_pattern([b"on", "öl".encode()]).findall("onnöl öö'n")
    ['on', 'n', 'öl', ' ö', "ö'n"]
    """
    before, behind = _joints(chain(tokens, _CONTRACTIONS))
    first, second = _class(before), _class(behind)
    space = _class(range(low, high + 1) for low, high in WHITE_SPACE)
    run = f"(?:[{first}{space}](?:(?=[{second}])|(?<=[{space}])(?=.)))*+."
    return re.compile(f"(?s:{run}(?:(?='){run})*+)")


def _joints(tokens: Iterable[bytes]) -> tuple[set[range], set[range]]:
    """Return the characters that stand before a joint, and those behind one."""
    ascii_before, ascii_behind = {0}, {0}
    before, behind = set[range](), set[range]()
    for token in tokens:
        if token.isascii():
            ascii_before.update(token[:-1])
            ascii_behind.update(token[1:])
            continue
        for place in range(1, len(token)):
            if token[place] not in _CONTINUATION:
                before |= _last_character(token[:place])
                behind.add(_first_character(token[place:]))
    before.update(range(byte, byte + 1) for byte in ascii_before)
    behind.update(range(byte, byte + 1) for byte in ascii_behind)
    return before, behind


def _last_character(left: bytes) -> set[range]:
    begin = len(left) - 1
    while begin and left[begin] in _CONTINUATION:
        begin -= 1
    if left[begin] not in _CONTINUATION:
        return {_beginning_with(left[begin:])}
    # The token begins inside the character: it may be any with this last byte.
    low_bits = left[-1] - _CONTINUATION[0]
    ends_alike = range(_ASCII_END + low_bits, _BMP_END, len(_CONTINUATION))
    return {range(point, point + 1) for point in ends_alike} | {_BEYOND_BMP}


def _first_character(right: bytes) -> range:
    end = 1
    while end < len(right) and right[end] in _CONTINUATION:
        end += 1
    return _beginning_with(right[:end])


def _beginning_with(head: bytes) -> range:
    """Return the characters whose UTF-8 begins with these bytes; none, if it never does."""
    if head[0] < _ASCII_END:
        return range(head[0], head[0] + 1)
    for heads, num_bytes in _HEAD_BYTES.items():
        if head[0] in heads and len(head) <= num_bytes:
            point = head[0] & (0x7F >> num_bytes)
            for byte in head[1:]:
                point = point << 6 | byte & 0x3F
            missing_bits = 6 * (num_bytes - len(head))
            end = min((point + 1) << missing_bits, _BEYOND_BMP.stop)
            return range(point << missing_bits, end)
    return range(0)


def _class(characters: Iterable[range]) -> str:
    # Sorted, so that the pattern of a vocabulary is always the same.
    bounds = sorted((each[0], each[-1]) for each in characters if each)
    return "".join(rf"\U{low:08x}-\U{high:08x}" for low, high in bounds)
