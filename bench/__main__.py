"""Owns `python -m bench`: one measurement by name, or all of them."""

import sys

from bench import codec_speed, engine_speed, install, reply_time

MEASUREMENTS = {
    "codec": codec_speed.measure,
    "engine": engine_speed.measure,
    "reply": reply_time.measure,
    "install": install.measure,
}


def main() -> int:
    """Run what is named on the command line; nothing named: everything."""
    names = sys.argv[1:] or list(MEASUREMENTS)
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        print(f"no measurement {unknown[0]!r}: there are {', '.join(MEASUREMENTS)}")
        return 2
    for name in names:
        MEASUREMENTS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
