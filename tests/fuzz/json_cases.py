"""Texts and JSON that nobody would write on purpose, and good JSON with something changed in it."""

import copy
from collections.abc import Iterable, Iterator
from typing import Any

from hypothesis import strategies as st

ODD_TEXTS = (
    *(
        "\ud800",
        "a\udfff",
        "\0",
        "\u202e",
        "\u2028",
        "\ufeff",
        "\U0010ffff",
        "e\u0301" * 9,
        "\x1b[0m",
    ),
    *("NaN", "Infinity", "-1", "1e999", "0x10", "true", "null", "[]", "{}", '"', "\\", "%s", "{0}"),
)
ANY_TEXT = st.one_of(
    st.text(max_size=20), st.text(st.characters(), max_size=10), st.sampled_from(ODD_TEXTS)
)
"""`st.characters()` includes halves of surrogate pairs, which JSON's escapes can bring."""
NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from((0, -1, 2**31, 2**53, 2**63, 2**64, 10**40)),
    st.floats(allow_nan=True, allow_infinity=True),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, ANY_TEXT)
ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)

GONE = "a value that is left out"
Place = tuple[Any, ...]
Change = tuple[int, Any]
"""Which place, counted round, and what comes there."""


def changed(wholes: st.SearchStrategy[Any], *kept: str) -> st.SearchStrategy[Any]:
    """Change a few of the JSON values at any depth: another value, null, or left out.

    Args:
        wholes: What is changed, a table.
        kept: Names in it whose values stay as they are.
    """
    changes = st.tuples(st.integers(0, 999), st.one_of(st.just(GONE), st.none(), ANY_JSON))
    some = st.one_of(st.just([]), st.lists(changes, max_size=3))
    return st.builds(change_json, wholes, some, st.just(frozenset(kept)))


def change_json(whole: Any, changes: list[Change], kept: frozenset[str] = frozenset()) -> Any:
    """Return a changed copy."""
    whole = copy.deepcopy(whole)
    for number, value in changes:
        places = [place for place in _places(whole, ()) if place[0] not in kept]
        if not places:
            break
        *way, last = places[number % len(places)]
        inside = whole
        for step in way:
            inside = inside[step]
        if value == GONE:
            del inside[last]
        else:
            inside[last] = copy.deepcopy(value)
    return whole


def _places(value: Any, way: Place) -> Iterator[Place]:
    steps: Iterable[Any] = ()
    if isinstance(value, dict):
        steps = list(value)
    elif isinstance(value, list):
        steps = range(len(value))
    for step in steps:
        yield (*way, step)
        yield from _places(value[step], (*way, step))
