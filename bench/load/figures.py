"""What a load measurement found: named numbers beside their targets. Knows not how they came."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One number.

    Attributes:
        name: What was measured.
        value: The number.
        unit: What it counts; empty for a mere number.
        below: The number that it must stay below; None where there is no target.
        exactly: The number that it must be; None where there is none.
    """

    name: str
    value: float
    unit: str = ""
    below: float | None = None
    exactly: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the target is met, if there is one."""
        if self.below is not None:
            return self.value < self.below
        return self.exactly is None or self.value == self.exactly

    def line(self) -> str:
        """Say it in one line of a table.

        >>> Figure("answered, p99", 0.2534, "s", below=2).line()
        'answered, p99                                 0.253 s         below 2    met'
        """
        shown = f"{self.value:,.0f}" if float(self.value).is_integer() else f"{self.value:,.3f}"
        target = "" if self.below is None else f"below {self.below:g}"
        target = target if self.exactly is None else f"exactly {self.exactly:g}"
        verdict = ("met" if self.is_met else "MISSED") if target else ""
        return f"{self.name:40} {shown:>10} {self.unit:8} {target:>12}    {verdict}".rstrip()


@dataclass(slots=True)
class Table:
    """The figures of one scenario."""

    title: str
    figures: list[Figure] = field(default_factory=list)

    def add(self, *figures: Figure) -> None:
        """Put figures below those that are there."""
        self.figures += figures

    def text(self) -> str:
        """Lay it out for a terminal."""
        return "\n".join((self.title, *(f"  {figure.line()}" for figure in self.figures)))


def spread(
    name: str, values: Sequence[float], unit: str = "s", *, below: Mapping[str, float] | None = None
) -> list[Figure]:
    """Make the median, the 99th percentile and the largest of some values.

    Args:
        name: Of what the values are.
        values: At least one.
        unit: Of a value.
        below: Targets by `p50`, `p99` or `max`.

    >>> [figure.value for figure in spread("", [3.0, 1.0, 2.0])]
    [2.0, 3.0, 3.0]
    """
    ordered, below = sorted(values), below or {}
    ranks = {"p50": 0.50, "p99": 0.99, "max": 1.0}
    return [
        Figure(f"{name}, {rank}", ordered[_index(share, len(ordered))], unit, below.get(rank))
        for rank, share in ranks.items()
    ]


def _index(share: float, number: int) -> int:
    """Say which of `number` ordered values is the smallest that `share` of all do not exceed."""
    return max(0, -int(-share * number // 1) - 1)


def plain_data(tables: Iterable[Table]) -> dict[str, Any]:
    """Make what JSON takes of tables."""
    return {
        table.title: [{**asdict(figure), "met": figure.is_met} for figure in table.figures]
        for table in tables
    }
