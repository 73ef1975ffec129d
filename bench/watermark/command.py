"""Owns the options of `python -m bench watermark`, and what comes of a run."""

import json
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from bench.watermark import human
from bench.watermark.plan import QUICK, WHOLE
from bench.watermark.writing import Shelf

ABOUT = "Measure how surely the watermark is found, how seldom where it is not, and its cost."


def measure(arguments: Sequence[str] = ()) -> None:
    """Write texts, look for the mark in them and in people's, and print tables.

    Args:
        arguments: options as on a command line.
    """
    options = _parser().parse_args(arguments)
    absent = human.missing()
    if absent:
        print(f"the watermark is measured with texts that are not here: {absent[0]} is missing")
        return
    torch.set_num_threads(options.threads)
    if options.cache is not None:
        _measure(options, options.cache)
        return
    with TemporaryDirectory() as folder:
        _measure(options, Path(folder))


def _measure(options: Namespace, cache: Path) -> None:
    # Here, since it takes seconds: transformers comes with it.
    from bench.watermark import plots, results, tables  # noqa: PLC0415

    began_s = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began_s:7.0f} s  {what}", flush=True)

    measured = results.measure(QUICK if options.quick else WHOLE, Shelf(cache), say)
    print(f"\n{measured.machine}\n\n{tables.tables(measured)}\n")
    if options.json is not None:
        text = json.dumps(results.plain_data(measured), indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.images is not None:
        for path in plots.draw(measured, options.images):
            print(f"{path}: {path.stat().st_size} bytes")
    say("done")


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m bench watermark", description=ABOUT)
    parser.add_argument("--quick", action="store_true", help="few texts, to try it out")
    parser.add_argument(
        "--cache",
        type=Path,
        help="keep what is written in this folder; empty it when the engine draws otherwise",
    )
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--images", type=Path, help="draw the pictures into this folder")
    parser.add_argument("--threads", type=int, default=1, help="of the models; 1 if left out")
    return parser
