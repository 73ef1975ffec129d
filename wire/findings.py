"""What a check of the installation found, as one line for a person. Knows no check."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

EXIT_STATUS = "Exit status: 0 all is well, 1 there are warnings, 2 something cannot work."


class Level(StrEnum):
    """How bad it is, the best first."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; nothing is wrong."""
    WARN = "warn"
    """It works, and not as it should."""
    FAULT = "FAULT"
    """It does not work, or a secret lies open."""


STATUSES = {Level.OK: 0, Level.NOTE: 0, Level.WARN: 1, Level.FAULT: 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: how bad it is.
        about: what was looked at, in a word.
        said: what was found, without a full stop and without secrets.
        remedy: what to do about it; empty where nothing is to be done.
    """

    level: Level
    about: str
    said: str
    remedy: str = ""

    def line(self) -> str:
        r"""Say it in one line that a terminal shows as it stands.

        >>> print(fault("redis", "nobody answers\x1b", "Start it.").line())
        FAULT redis: nobody answers?. Start it.
        """
        words = f"{self.level:<5} {self.about}: {self.said}. {self.remedy}".rstrip()
        return "".join(each if each.isprintable() else "?" for each in words)


def ok(about: str, said: str) -> Finding:
    """Find that something is as it should be."""
    return Finding(Level.OK, about, said)


def note(about: str, said: str, remedy: str = "") -> Finding:
    """Find something worth knowing."""
    return Finding(Level.NOTE, about, said, remedy)


def warn(about: str, said: str, remedy: str) -> Finding:
    """Find something that works, and not as it should."""
    return Finding(Level.WARN, about, said, remedy)


def fault(about: str, said: str, remedy: str) -> Finding:
    """Find something that does not work."""
    return Finding(Level.FAULT, about, said, remedy)


def few(names: Sequence[str], most: int = 5) -> str:
    """Name some of several, so that a line remains a line.

    >>> few(["a", "b", "c"], 2)
    'a, b, …'
    """
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def exit_status(found: Iterable[Finding]) -> int:
    """Return the exit status for what was found: that of the worst of it.

    >>> exit_status([ok("redis", "alive"), note("key", "new")])
    0
    """
    return max((STATUSES[each.level] for each in found), default=0)


async def within(limit_s: float, late: Finding, checks: AsyncIterator[Finding]) -> list[Finding]:
    """Gather findings until there are no more or the time is up.

    Args:
        limit_s: how long they may take together.
        late: what it means if they take longer.
        checks: each finding as soon as it is made.
    """
    found = []
    try:
        async with asyncio.timeout(limit_s):
            async for each in checks:
                found.append(each)  # noqa: PERF401 - what there is when time is up counts
    except TimeoutError:
        found.append(late)
    return found
