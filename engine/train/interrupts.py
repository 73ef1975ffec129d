"""Owns how Ctrl-C and SIGTERM reach a loop: at the end of a step. Knows no training."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(slots=True)
class Noted:
    """The signal that asked for an end, if one did."""

    number: int | None = None


@contextmanager
def signals_noted() -> Iterator[Noted]:
    """Note SIGINT and SIGTERM instead of acting on them; the second one acts as it always does.

    For the main thread only, where Python handles signals.
    """
    noted = Noted()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, _: FrameType | None) -> None:
        noted.number = number
        for each, handler in before.items():
            signal.signal(each, handler)

    try:
        for each in before:
            signal.signal(each, note)
        yield noted
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
