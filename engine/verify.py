"""Owns the answer to "was this written by this bot?": a text as people paste it in, evidence out.

Source: the score and its law are `engine.watermark`'s; Bonferroni's correction pays for every
reading, vocabulary, key, window and subkey that is tried.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from codec.bpe import Tokenizer
from engine.watermark import Evidence, WatermarkKey, find_mark

OURS_BELOW = 1e-6
"""The p-value below which a text counts as ours: one human text in a million does too."""
ENOUGH_TOKENS = 100
"""Scored tokens with which nearly every marked text is found; fewer are too few to deny it."""
WORDS_PER_TOKEN = 0.75

_LABEL = re.compile(r"^.*🤖.*\n?", re.MULTILINE)
_QUOTED = re.compile(r"^> ?", re.MULTILINE)
_NUMBERED = re.compile(r"⟨U\+([0-9A-F]{4,6})⟩")
_ESCAPED = re.compile(r"\\([^A-Za-z0-9\s])")
_STRAIGHT = str.maketrans("\u201c\u201d\u201e\u2018\u2019\u00a0", '"""\'\' ', "\r")
"""Typographic quotes and fixed spaces, as word processors put them for typed ones."""


class Verdict(StrEnum):
    """What can be said of a text."""

    OURS = "ours"
    """It carries the mark of this installation's key."""
    NO_SIGN = "no_sign"
    """It is long enough, and there is no sign of the mark."""
    TOO_SHORT = "too_short"
    """There is no sign of the mark, and might be none in a text of ours as short as this."""


@dataclass(frozen=True, slots=True)
class Verification:
    """An answer, and what it stands on.

    Attributes:
        verdict: the answer.
        num_scored: tokens that could carry the mark.
        p_value: how likely a text that was written without the key shows as much.
        key: fingerprint of the key that fits best; None where there was nothing to score.
    """

    verdict: Verdict
    num_scored: int
    p_value: float
    key: str | None

    def sentence(self) -> str:
        """Say it in plain words, always in the same form.

        >>> print(Verification(Verdict.NO_SIGN, 240, 0.3, "1f2e3d4c").sentence())
        No sign that this bot wrote it. Of texts that it did not write, 30% look as much like its \
own as this (n = 240 tokens, p = 0.3).
        """
        words = round((ENOUGH_TOKENS - self.num_scored) * WORDS_PER_TOKEN)
        said = {
            Verdict.OURS: "This bot wrote it, or a part of it.",
            Verdict.NO_SIGN: "No sign that this bot wrote it.",
            Verdict.TOO_SHORT: f"Too short to tell: about {words} more words are needed.",
        }[self.verdict]
        share = "fewer than 1 in a million" if self.p_value < OURS_BELOW else f"{self.p_value:.0%}"
        return (
            f"{said} Of texts that it did not write, {share} look as much like its own as this "
            f"(n = {self.num_scored} tokens, p = {self.p_value:.2g})."
        )


def verify(
    text: str, tokenizers: Sequence[Tokenizer], keys: Sequence[WatermarkKey]
) -> Verification:
    """Say whether a text carries the mark of one of the keys.

    Args:
        text: as it was pasted: with the label, quote marks, escapes or typographic quotes.
        tokenizers: of the models that may have written it, at least one.
        keys: at least one; the current key and old ones.

    Raises:
        ValueError: the text holds a lone surrogate.
    """
    trials = [
        (key, tokenizer.encode(reading))
        for reading in readings(text)
        for tokenizer in tokenizers
        for key in keys
    ]
    found = [(find_mark(ids, key), key) for key, ids in trials]
    evidence, key = min(found, key=lambda pair: (pair[0].p_value, -pair[0].num_scored))
    p_value = min(1.0, evidence.p_value * len(trials))
    return Verification(
        _verdict(evidence, p_value),
        evidence.num_scored,
        p_value,
        key.fingerprint if evidence.num_scored else None,
    )


def readings(text: str) -> list[str]:
    r"""Return what a pasted text may have been when it was written, each once.

    >>> readings("-# 🤖 Machine-generated\n> It\\'s “so”")
    ["-# 🤖 Machine-generated\n> It\\'s “so”", "It's “so”", 'It\'s "so"']
    """
    clean = _QUOTED.sub("", _LABEL.sub("", text))
    clean = _NUMBERED.sub(lambda found: _character(found[1]), _ESCAPED.sub(r"\1", clean))
    return list(dict.fromkeys((text, clean, clean.translate(_STRAIGHT))))


def _character(number: str) -> str:
    code = int(number, 16)
    return chr(code) if code <= 0x10FFFF and not 0xD800 <= code < 0xE000 else f"⟨U+{number}⟩"


def _verdict(evidence: Evidence, p_value: float) -> Verdict:
    if p_value < OURS_BELOW:
        return Verdict.OURS
    return Verdict.NO_SIGN if evidence.num_scored >= ENOUGH_TOKENS else Verdict.TOO_SHORT
