"""Owns `python -m bench`: measurements by name, or all that take minutes.

Exit status: 0, 1 when a target was missed, 2 for a command line that makes no sense.
"""

import sys
from collections.abc import Callable, Sequence
from itertools import takewhile

from bench import codec_speed, engine_speed, install, reply_time, reproduction
from bench.load import command as load
from bench.watermark import command as watermark

MEASUREMENTS: dict[str, Callable[[], bool | None]] = {
    "codec": codec_speed.measure,
    "engine": engine_speed.measure,
    "reply": reply_time.measure,
    "reproduction": reproduction.measure,
    "install": install.measure,
    "load": load.measure,
    "watermark": watermark.measure,
}

WITH_OPTIONS: dict[str, Callable[[Sequence[str]], bool | None]] = {
    "load": load.measure,
    "watermark": watermark.measure,
}


def main() -> int:
    """Run what is named on the command line; nothing named: all but `watermark`."""
    given = list(takewhile(lambda word: not word.startswith("-"), sys.argv[1:]))
    options = sys.argv[1 + len(given) :]
    # Half an hour is nothing to begin unasked.
    names = given or [name for name in MEASUREMENTS if name != "watermark"]
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        print(f"no measurement {unknown[0]!r}: there are {', '.join(MEASUREMENTS)}")
        return 2
    if options and not (len(names) == 1 and names[0] in WITH_OPTIONS):
        print(f"no option {options[0]!r}: only {' and '.join(WITH_OPTIONS)} have options")
        return 2
    if options:
        are_met = [WITH_OPTIONS[names[0]](options)]
    else:
        are_met = [MEASUREMENTS[name]() for name in names]
    return int(False in are_met)


if __name__ == "__main__":
    sys.exit(main())
