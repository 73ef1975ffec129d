"""Owns the answer to "was this written by this bot?": a text as people paste it in, evidence out.

Source: the score and its law are `engine.watermark`'s; Bonferroni's correction pays for every
reading, vocabulary, key, window and subkey that is tried.
"""

import re
from collections.abc import Sequence

from codec.bpe import Tokenizer
from engine.watermark import Evidence, WatermarkKey, find_mark
from wire.verdicts import ENOUGH_TOKENS, OURS_BELOW, Verdict, Verified

_LABEL = re.compile(r"^.*🤖.*\n?", re.MULTILINE)
_QUOTED = re.compile(r"^> ?", re.MULTILINE)
_NUMBERED = re.compile(r"⟨U\+([0-9A-F]{4,6})⟩")
_ESCAPED = re.compile(r"\\([^A-Za-z0-9\s])")
_STRAIGHT = str.maketrans("\u201c\u201d\u201e\u2018\u2019\u00a0", '"""\'\' ', "\r")
"""Typographic quotes and fixed spaces, as word processors put them for typed ones."""


def verify(text: str, tokenizers: Sequence[Tokenizer], keys: Sequence[WatermarkKey]) -> Verified:
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
    return Verified(
        verdict=_verdict(evidence, p_value),
        num_scored=evidence.num_scored,
        p_value=p_value,
        key=key.fingerprint if evidence.num_scored else None,
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
