"""Stands in for the engine when the demo is tested: says that it is ready, and waits.

SMALL_ENGINE names another manner: `broken` ends at once, `stubborn` ignores SIGTERM.
"""

import asyncio
import os
import signal
import sys


def say(line: str) -> None:
    """Write a line of log."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


async def engine() -> None:
    """Say that it is ready and wait for SIGTERM, or do what SMALL_ENGINE says."""
    match os.environ.get("SMALL_ENGINE"):
        case "broken":
            say("no model: 124Q")
            sys.exit(3)
        case "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case _:
            pass
    say("engine ready")
    stopped = asyncio.Event()
    if os.environ.get("SMALL_ENGINE") != "stubborn":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()


if __name__ == "__main__":
    asyncio.run(engine())
