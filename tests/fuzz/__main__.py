"""Try many cases at each door: `python -m tests.fuzz [DOOR ...] --cases 100000`.

Each door has a process of its own, whose cases the fuzzer Atheris (libFuzzer) chooses by what code
they reach; where it is not installed, or with `--blind`, Hypothesis draws them by chance.
"""

import argparse
import subprocess
import sys

from tests.fuzz.doors import DOORS


def main() -> int:
    """Run the doors one after the other; the exit status is 1 where any of them had a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("doors", nargs="*", metavar="DOOR", help=f"of {', '.join(DOORS)}")
    parser.add_argument("--cases", type=int, default=100_000, help="at each (default %(default)s)")
    parser.add_argument("--blind", action="store_true", help="draw cases by chance")
    parser.add_argument("--seed", type=int, default=1, help="of the choices (default 1)")
    asked = parser.parse_args()
    if unknown := set(asked.doors) - set(DOORS):
        parser.error(f"there is no door {', '.join(sorted(unknown))}")
    statuses = [_in_a_process(name, asked) for name in asked.doors or DOORS]
    return int(any(statuses))


def _in_a_process(door: str, asked: argparse.Namespace) -> int:
    how = ["--blind"] if asked.blind else []
    numbers = [str(asked.cases), str(asked.seed)]
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz.one_door", door, *numbers, *how], check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
