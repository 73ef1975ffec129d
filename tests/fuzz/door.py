"""Owns what a door is, and how cases are tried at it: one after the other, each within bounds.

Knows no door. A case that waits is ended by the clock; one that computes, by the processor time it
takes, which says the same on a loaded machine as on an idle one.
"""

import asyncio
import faulthandler
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis.strategies import SearchStrategy

CASES_IN_SUITE = 1_000
WAITING_BOUND_S = 60.0
COMPUTING_BOUND_S = 20.0
"""Of processor time. The slowest case takes a tenth of a second."""
STUCK_BOUND_S = 240.0
"""After this long the process is ended: something computes where Python cannot interrupt it."""

UNHURRIED = pytest.mark.timeout(1200)
"""For tests that try cases: each has its own bounds, and all of them take as long as they take."""

ALL_CHECKS = list(HealthCheck)

Try = Callable[[Any], Awaitable[None]]


class HangError(AssertionError):
    """A case goes on and on."""


@dataclass(frozen=True)
class Door:
    """Where something comes in that people, other programs or other versions wrote.

    Attributes:
        name: For the command line.
        cases: What comes in.
        opened: Opens it, and gives what tries one case: an exception is a fault of the product.
        once_failed: Cases that were faults, and are tried first.
    """

    name: str
    cases: SearchStrategy[Any]
    opened: Callable[[], AbstractAsyncContextManager[Try]]
    once_failed: tuple[Any, ...] = ()

    def try_cases(self, num_cases: int = CASES_IN_SUITE) -> None:
        """Try so many cases, the same every time.

        Raises:
            Exception: The smallest case that was found to be a fault raised it.
        """
        with self.attempts() as attempt:
            test = given(self.cases)(attempt)
            for case in self.once_failed:
                test = example(case)(test)
            settings(max_examples=num_cases, database=None, suppress_health_check=ALL_CHECKS)(
                test
            )()

    @contextmanager
    def attempts(self) -> Iterator[Callable[[Any], None]]:
        """Open the door, and give what tries one case within bounds."""
        with asyncio.Runner() as runner, _interrupting():
            door = self.opened()
            attempt = runner.run(door.__aenter__())

            def try_one(case: Any) -> None:
                with _bounded():
                    runner.run(_within_bound(attempt(case)))

            try:
                yield try_one
            finally:
                runner.run(door.__aexit__(None, None, None))


async def _within_bound(attempt: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(WAITING_BOUND_S):
            await attempt
    except TimeoutError as error:
        msg = f"it waits for more than {WAITING_BOUND_S:g} s"
        raise HangError(msg) from error


def _raise_hang(_signal: int, _frame: FrameType | None) -> None:
    msg = f"it computes for more than {COMPUTING_BOUND_S:g} s"
    raise HangError(msg)


@contextmanager
def _interrupting() -> Iterator[None]:
    before = signal.signal(signal.SIGPROF, _raise_hang)
    try:
        yield
    finally:
        signal.signal(signal.SIGPROF, before)


@contextmanager
def _bounded() -> Iterator[None]:
    signal.setitimer(signal.ITIMER_PROF, COMPUTING_BOUND_S)
    faulthandler.dump_traceback_later(STUCK_BOUND_S, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
