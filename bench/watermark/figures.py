"""Owns the statistics: shares and differences with 95 % intervals, and how a text repeats itself.

Sources: Clopper and Pearson 1934 for shares; Efron 1979, the percentile bootstrap, for means;
Li et al. 2016, "A Diversity-Promoting Objective Function", for distinct-n.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import stats  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, and between what the true share is in 95 of 100 measurements.

    Attributes:
        hits, count: 0 ≤ hits ≤ count, count at least 1.
        low, high: exact, 0…1.
    """

    hits: int
    count: int
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, count: int) -> Self:
        """Return a share with its interval.

        >>> str(Share.of(200, 200)), str(Share.of(1, 4))
        ('100 % (98.2–100)', '25.0 % (0.6–80.6)')
        """
        interval = stats.binomtest(hits, count).proportion_ci(method="exact")
        return cls(hits, count, float(interval.low), float(interval.high))

    @property
    def value(self) -> float:
        """Return the share, 0…1."""
        return self.hits / self.count

    def __str__(self) -> str:
        value, low, high = (_percent(each) for each in (self.value, self.low, self.high))
        return f"{value} % ({low}–{high})"


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over texts or prompts, and its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float], *, resamples: int) -> Self:
        """Return the mean with its bootstrap interval, the same every time."""
        rng = np.random.default_rng(0)
        sample = np.asarray(values, dtype=np.float64)
        means = [rng.choice(sample, len(sample)).mean() for _ in range(resamples)]
        low, high = np.percentile(means, [2.5, 97.5])
        return cls(float(sample.mean()), float(low), float(high))

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def found(p_values: Sequence[float], below: float) -> Share:
    """Return how many are below a bound."""
    return Share.of(sum(p < below for p in p_values), len(p_values))


def distinct(ids: Sequence[int], length: int) -> float:
    """Return how many of the n-grams of a text are different, 0…1.

    >>> distinct([1, 2, 1, 2, 3], 1), distinct([1, 2, 1, 2, 3], 2)
    (0.6, 0.75)
    """
    grams = ngrams(ids, length)
    return len(set(grams)) / len(grams)


def repetition(ids: Sequence[int]) -> float:
    """Return how many of the 4-grams of a text stood there before, 0…1."""
    return 1 - distinct(ids, 4)


def ngrams(ids: Sequence[int], length: int) -> list[tuple[int, ...]]:
    """Return all runs of so many tokens, of which there must be one."""
    return [tuple(ids[start : start + length]) for start in range(len(ids) - length + 1)]


def _percent(share: float) -> str:
    return "100" if share == 1 else f"{100 * share:.1f}"
