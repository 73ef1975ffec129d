"""Measures true positives: by length, by what was done to a text, by h, by temperature, by peer.

Texts are looked at as they are pasted: the tokens become text, the text is changed, and what it
is encoded to need not be what was written. `Scheme.p_value` of ours is that of `engine.verify`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from bench.watermark import human
from bench.watermark.attacks import ATTACKS, INTACT, ONE_IN_FIVE, damaged
from bench.watermark.figures import Share, found
from bench.watermark.peers import Peer
from bench.watermark.plan import DAMAGED_LENGTHS, LENGTHS
from bench.watermark.writing import ROWS, Ids, Subject, context_tokens, key_of
from engine.verify import verify
from engine.watermark import NUM_SUBKEYS, find_mark
from wire.verdicts import OURS_BELOW

EASY_BELOW = 0.01
COMPARED = (
    *((INTACT, length) for length in LENGTHS),
    *((ONE_IN_FIVE, length) for length in DAMAGED_LENGTHS),
)
FEWER_SUBKEYS = (16, 4, 1)
Case = tuple[str, int]
"""An attack, and how many tokens a text had before it."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """A mark: texts that bear it, and what its detector says of a text.

    Attributes:
        name: for tables.
        texts: tokens of marked texts; each one's place says which key it has.
        p_value: of a text with the key of a place.
    """

    name: str
    texts: Sequence[Ids]
    p_value: Callable[[str, int], float]


@dataclass(frozen=True, slots=True)
class Compared:
    """How many of a scheme's texts are found.

    Attributes:
        surely: at p < 1e-6 by the scheme's own law.
        easily: at the bound that 1 % of human windows of the length pass.
        bound: that p-value.
        human_surely: human windows at p < 1e-6, of which there should be none.
    """

    surely: Share
    easily: Share
    bound: float
    human_surely: Share


def ours(subject: Subject, texts: Sequence[Ids]) -> Scheme:
    """Return our mark, found as a person finds it."""

    def p_value(text: str, place: int) -> float:
        return verify(text, [subject.tokenizer], [key_of(place)]).p_value

    return Scheme("Ovid", texts, p_value)


def of_peer(peer: Peer, subject: Subject, texts: Sequence[Ids]) -> Scheme:
    """Return a peer's mark, found by its own score."""

    def p_value(text: str, place: int) -> float:
        return peer.p_value(subject.tokenizer.encode(text), place // ROWS)

    return Scheme(peer.name, texts, p_value)


def p_values(scheme: Scheme, subject: Subject, case: Case) -> list[float]:
    """Return the p-value of each of a scheme's texts in a case."""
    attack, length = case
    texts = (subject.tokenizer.decode(ids[:length]) for ids in scheme.texts)
    return [scheme.p_value(damaged(text, attack, place), place) for place, text in enumerate(texts)]


def by_case(scheme: Scheme, subject: Subject, cases: Iterable[Case]) -> dict[Case, Share]:
    """Return how many texts are found surely in each case."""
    return {case: found(p_values(scheme, subject, case), OURS_BELOW) for case in cases}


def all_cases() -> list[Case]:
    """Return every length as it was written, and every attack at three lengths."""
    damages = [name for name in ATTACKS if name != INTACT]
    return [
        *((INTACT, length) for length in LENGTHS),
        *((name, length) for name in damages for length in DAMAGED_LENGTHS),
    ]


def compare(scheme: Scheme, subject: Subject, human_windows: int) -> dict[Case, Compared]:
    """Return what a scheme finds at two rates of false positives.

    The bound of the higher rate is measured on human text, with as many keys as the texts have.

    Args:
        scheme: the mark.
        subject: who wrote the texts.
        human_windows: of each length, 1 % of which pass the bound.
    """
    bounds = {length: _human(scheme, subject, length, human_windows) for length in LENGTHS}
    compared = {}
    for case in COMPARED:
        ps, null = p_values(scheme, subject, case), bounds[case[1]]
        bound = float(np.quantile(null, EASY_BELOW))
        compared[case] = Compared(
            found(ps, OURS_BELOW), found(ps, bound), bound, found(null, OURS_BELOW)
        )
    return compared


def by_context(
    subject: Subject, texts: Mapping[int, Sequence[Ids]], cases: Sequence[Case]
) -> dict[int, dict[Case, Share]]:
    """Return what is found of texts whose draws were keyed by so many tokens each."""
    shares = {}
    for count, written in texts.items():
        with context_tokens(count):
            shares[count] = by_case(ours(subject, written), subject, cases)
    return shares


def by_subkeys(
    scheme: Scheme, subject: Subject, cases: Sequence[Case]
) -> dict[int, dict[Case, Share]]:
    """Return what would be found if there were fewer subkeys to pay for.

    Every text keeps the subkey that it has, and its p-value pays for as many as are said.
    """
    values = {case: p_values(scheme, subject, case) for case in cases}
    return {
        count: {
            case: found([p * count / NUM_SUBKEYS for p in ps], OURS_BELOW)
            for case, ps in values.items()
        }
        for count in (NUM_SUBKEYS, *FEWER_SUBKEYS)
    }


def by_ids(texts: Sequence[Ids], lengths: Sequence[int]) -> dict[int, Share]:
    """Return what is found of tokens that never became text."""
    return {
        length: found(
            [find_mark(ids[:length], key_of(place)).p_value for place, ids in enumerate(texts)],
            OURS_BELOW,
        )
        for length in lengths
    }


def _human(scheme: Scheme, subject: Subject, length: int, count: int) -> list[float]:
    windows = islice(human.windows(subject.tokenizer, [length], length), count)
    return [
        scheme.p_value(subject.tokenizer.decode(ids), place % len(scheme.texts))
        for place, ids in enumerate(windows)
    ]
