"""Owns the options of `python -m bench load`, and prints what comes of a run."""

import asyncio
import json
import os
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from bench.load import engines, rush, streams
from bench.load.figures import Table, plain_data

ABOUT = "Put the bot under load in the local Discord, with its rate limits, and measure it."
SCENARIOS: dict[str, Callable[[], Awaitable[list[Table]]]] = {
    "rush": rush.measure,
    "streams": streams.measure,
    "engines": engines.measure,
}


def measure(arguments: Sequence[str] = ()) -> bool:
    """Run the scenarios and print a table for each; return whether all targets were met.

    Args:
        arguments: options as on a command line.
    """
    options = _parser().parse_args(arguments)
    print(f"{os.cpu_count()} CPU cores, load average {os.getloadavg()[0]:.2f} before")
    tables = []
    for name in options.only or SCENARIOS:
        for table in asyncio.run(_tables(name)):
            print(f"\n{table.text()}", flush=True)
            tables.append(table)
    if options.json is not None:
        text = json.dumps(plain_data(tables), indent=1, ensure_ascii=False)
        options.json.write_text(f"{text}\n", encoding="utf-8")
    return all(figure.is_met for table in tables for figure in table.figures)


async def _tables(name: str) -> list[Table]:
    return await SCENARIOS[name]()


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m bench load", description=ABOUT)
    parser.add_argument("--only", nargs="+", choices=tuple(SCENARIOS), help="not all scenarios")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser
