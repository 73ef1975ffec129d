"""Try many cases at one door, in this process: `python -m tests.fuzz.one_door DOOR CASES SEED`.

Goes on after a fault, and says at the end how many cases there were and which faults, each once.
"""

import contextlib
import importlib
import logging
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.doors import DOORS

INSTRUMENTED = ["bot", "codec", "engine", "wire"]
MAX_INPUT_BYTES = 8192
# The time and memory of a case are bounded by the door.
LIBFUZZER_OPTIONS = ("-verbosity=0", "-timeout=600", "-rss_limit_mb=0", "-len_control=0")
FIRST_INPUTS = 200
SAID_EVERY_S = 60.0

Input = Callable[[bytes], object]


class Tally:
    """Counts cases and faults, and says so when there were enough."""

    def __init__(self, door: str, num_cases: int) -> None:
        self.faults: Counter[str] = Counter()
        self._door = door
        self._num_cases = num_cases
        self._num_tried = 0
        self._began_s = self._said_s = time.monotonic()

    def watch(self, attempt: Callable[[Any], None]) -> Callable[[Any], None]:
        """Make an attempt that counts, and keeps its fault to itself."""

        def counted(case: Any) -> None:
            self._num_tried += 1
            try:
                attempt(case)
            except Exception as error:  # noqa: BLE001  # any is a fault, which is told at the end
                self._note(error, case)
            if time.monotonic() - self._said_s > SAID_EVERY_S:
                self._said_s = time.monotonic()
                self.say()

        return counted

    @property
    def is_over(self) -> bool:
        """Return whether there were as many cases as wanted."""
        return self._num_tried >= self._num_cases

    def say(self) -> None:
        """Print where the count stands."""
        seconds = time.monotonic() - self._began_s
        print(
            f"{self._door}: {self._num_tried} cases in {seconds:.0f} s, "
            f"{len(self.faults)} faults ({self.faults.total()} times)",
            flush=True,
        )

    def result(self) -> int:
        """Print the count, and return the exit status."""
        self.say()
        return int(bool(self.faults))

    def _note(self, error: Exception, case: Any) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
        name = f"{type(error).__name__} at {place}: {str(error).splitlines()[-1:]!s:.200}"
        self.faults[name] += 1
        if self.faults[name] == 1:
            print(f"{self._door}: FAULT {name}\n  case: {case!r:.3000}", flush=True)
            traceback.print_exception(error, limit=-8)


def _blindly(door: Any, tally: Tally, num_cases: int, seed: int) -> None:
    with door.attempts() as attempt:
        test = given(door.cases)(tally.watch(attempt))
        test._hypothesis_internal_use_seed = seed
        settings(
            max_examples=num_cases,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(test)()


def _with_atheris(atheris: Any, door: Any, tally: Tally, seed: int) -> None:
    """Try cases until there were enough; then the process ends, as libFuzzer only ends with it."""
    opened = contextlib.ExitStack()
    folder = opened.enter_context(_first_inputs(seed))
    attempt = tally.watch(opened.enter_context(door.attempts()))
    one_input: Input = given(door.cases)(attempt).hypothesis.fuzz_one_input

    def once(data: bytes) -> None:
        one_input(data)
        if tally.is_over:
            opened.close()
            os._exit(tally.result())

    options = [f"-max_len={MAX_INPUT_BYTES}", f"-seed={seed}", f"-artifact_prefix={folder}/"]
    atheris.Setup(["fuzz", *options, *LIBFUZZER_OPTIONS, folder], once)
    atheris.Fuzz()


@contextlib.contextmanager
def _first_inputs(seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="ovid-fuzz-") as folder:
        for number in range(FIRST_INPUTS):
            (Path(folder) / f"{number}").write_bytes(rng.randbytes(rng.randrange(MAX_INPUT_BYTES)))
        yield folder


def main(name: str, cases: str, seed: str, *how: str) -> int:
    """Try the cases; return 1 where one was a fault."""
    logging.disable(logging.WARNING)
    atheris = None if how else _find_atheris()
    with atheris.instrument_imports(INSTRUMENTED) if atheris else contextlib.nullcontext():
        door = importlib.import_module(DOORS[name]).DOOR
    tally = Tally(name, int(cases))
    if atheris:
        _with_atheris(atheris, door, tally, int(seed))
    _blindly(door, tally, int(cases), int(seed))
    return tally.result()


def _find_atheris() -> Any:
    with contextlib.suppress(ImportError):
        return importlib.import_module("atheris")
    print("Atheris is not installed (make fuzz installs it): cases are drawn by chance", flush=True)
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
