"""`python -m tests.soak --minutes N --seed S`: soak, print the count, exit 1 if anything is wrong.

What is random is drawn from the seed, but programs and machines have their own time, so two runs
with one seed are alike and not the same.
"""

import argparse
import asyncio
import dataclasses
import json
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.faults.account import Fate
from tests.soak.soak import soak
from tests.soak.verdict import Report, table


def main() -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="tests.soak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long faults strike")
    parser.add_argument("--seed", type=int, default=1, help="of people and faults")
    parser.add_argument("--json", type=Path, help="also write the report to this file")
    parser.add_argument("--keep", action="store_true", help="keep the logs where all was well too")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ovid-soak-"))
    began_s = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began_s:7.1f} s  {what}", flush=True)

    try:
        report = asyncio.run(soak(asked.minutes * 60, asked.seed, folder, say))
    except Exception:  # noqa: BLE001  # the logs must be kept, whatever it was
        report = Report(wrong=[f"the soak itself failed:\n{traceback.format_exc()}"])
    report.figures["lasted"] = f"{time.monotonic() - began_s:.0f} s"
    print(f"\n{table(report)}")
    if asked.json is not None:
        asked.json.write_text(_json(report, asked.seed, asked.minutes))
    if report.wrong or asked.keep:
        print(f"\nThe logs are kept in {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if report.wrong else 0


def _json(report: Report, seed: int, minutes: float) -> str:
    body = {
        "seed": seed,
        "minutes": minutes,
        "fates": {fate.value: report.fates[fate] for fate in Fate},
        "faults": dict(report.faults),
        "figures": report.figures,
        "wrong": report.wrong,
    }
    return json.dumps(body, indent=2, default=dataclasses.asdict) + "\n"


if __name__ == "__main__":
    sys.exit(main())
