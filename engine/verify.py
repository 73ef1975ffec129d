"""Owns the answer to "was this written by this bot?": a text as people paste it in, evidence out.

Source: the score and its law are `engine.watermark`'s; Bonferroni's correction pays for every
reading, vocabulary, key, window and subkey that is tried.
"""

from collections.abc import Sequence

from codec.bpe import Tokenizer
from engine.readings import readings
from engine.watermark import Evidence, WatermarkKey, find_marks
from wire.verdicts import ENOUGH_TOKENS, OURS_BELOW, Verdict, Verified


def verify(text: str, tokenizers: Sequence[Tokenizer], keys: Sequence[WatermarkKey]) -> Verified:
    """Say whether a text carries the mark of one of the keys.

    Args:
        text: as it was pasted: with the label, quote marks, escapes or typographic quotes.
        tokenizers: of the models that may have written it, at least one.
        keys: at least one; the current key and old ones.

    Raises:
        ValueError: the text holds a lone surrogate.
    """
    texts = readings(text)
    found = [
        (evidence, key)
        for tokenizer in tokenizers
        for ids in [[tokenizer.encode(each) for each in texts]]
        for key in keys
        for evidence in find_marks(ids, key)
    ]
    evidence, key = min(found, key=lambda pair: (pair[0].p_value, -pair[0].num_scored))
    p_value = min(1.0, evidence.p_value * len(found))
    return Verified(
        verdict=_verdict(evidence, p_value),
        num_scored=evidence.num_scored,
        p_value=p_value,
        key=key.fingerprint if evidence.num_scored else None,
    )


def _verdict(evidence: Evidence, p_value: float) -> Verdict:
    if p_value < OURS_BELOW:
        return Verdict.OURS
    return Verdict.NO_SIGN if evidence.num_scored >= ENOUGH_TOKENS else Verdict.TOO_SHORT
