"""The answer to "was this machine-generated?", and how it is said, whoever is asked.

Knows neither texts nor keys.
"""

import math
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from wire.base import Message

OURS_BELOW = 1e-6
"""The p-value below which a text counts as ours: one human text in a million does too."""
ENOUGH_TOKENS = 100
"""Scored tokens with which nearly every marked text of default sampling is found; fewer are too few
to deny it."""
WORDS_PER_TOKEN = 0.75
"""Of English, roughly."""


class Verdict(StrEnum):
    """What can be said of a text."""

    OURS = "ours"
    """It carries the mark of this installation's key."""
    NO_SIGN = "no_sign"
    """It is long enough, and there is no sign of the mark."""
    TOO_SHORT = "too_short"
    """There is no sign of the mark, and might be none in a text of ours as short as this."""


class Verified(Message):
    """An answer, and what it stands on: the last word of a job that asked for it."""

    kind: Literal["verified"] = "verified"
    verdict: Verdict
    num_scored: Annotated[int, Field(ge=0)]
    """n: tokens that could carry the mark."""
    p_value: Annotated[float, Field(ge=0, le=1)]
    """How likely a text that was written without the key shows as much."""
    key: str | None = None
    """Fingerprint of the key that fits best; None where there was nothing to score."""

    def sentence(self) -> str:
        """Say it in plain words, always in the same form.

        >>> print(Verified(verdict=Verdict.NO_SIGN, num_scored=240, p_value=0.3).sentence())
        No sign that this bot wrote it. Of texts that it did not write, 30% look as much like its \
own as this (n = 240 tokens, p = 0.3).
        """
        # In steps of five, since it is a rough estimate, and never less than one.
        words = 5 * math.ceil((ENOUGH_TOKENS - self.num_scored) * WORDS_PER_TOKEN / 5)
        said = {
            Verdict.OURS: "This bot wrote it, or a part of it.",
            Verdict.NO_SIGN: "No sign that this bot wrote it.",
            Verdict.TOO_SHORT: f"Too short to tell: about {words} more words are needed.",
        }[self.verdict]
        return (
            f"{said} Of texts that it did not write, {self._share()} look as much like its own as "
            f"this (n = {self.num_scored} tokens, p = {self.p_value:.2g})."
        )

    def _share(self) -> str:
        if self.p_value < OURS_BELOW:
            return "fewer than 1 in a million"
        if self.p_value < 0.01:
            return f"1 in {1 / self.p_value:,.0f}"
        return f"{self.p_value:.0%}"
