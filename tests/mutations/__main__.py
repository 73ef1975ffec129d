"""`python -m tests.mutations [NAME ...]`: switch safeguards off, one at a time, and see tests fail.

Each is switched off in a copy of the checkout. First all the tests that are to fail are run as they
are: a test that fails anyway would prove nothing. Exit status 0: they all passed then, and each
safeguard was missed by one of them.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutations.copies import copied, switched_off
from tests.mutations.table import MUTATIONS, Mutation

TEST_TIMEOUT_S = 300
"""A person who is never answered is waited for no longer."""
SHOWN_CHARS = 160
"""Of a failing test's name and its reason."""
PASSED, FAILED = 0, 1
"""Pytest's exit statuses; others say that it ran no test."""


async def main() -> int:
    """Run what the command line names and print the table."""
    wanted, at_once = read_arguments()
    tests = sorted({test for mutation in wanted for test in mutation.tests})
    print(f"{len(tests)} tests with every safeguard in place", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        processes = ("--numprocesses", str(at_once))
        status, output = await run_tests(copied(Path(folder)), *processes, *tests)
    if status != PASSED:
        print(output)
        print("They fail anyway, so nothing can be told by them.")
        return FAILED
    turns = asyncio.Semaphore(at_once)
    missed = await asyncio.gather(*(was_missed(mutation, turns) for mutation in wanted))
    print(f"{sum(missed)} of {len(wanted)} safeguards were missed by a test")
    return PASSED if all(missed) else FAILED


def read_arguments() -> tuple[Sequence[Mutation], int]:
    """Read which mutations are wanted, all if none is named, and how many at once."""
    known = {mutation.name: mutation for mutation in MUTATIONS}
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("--at-once", type=int, default=1, help="copies to test side by side")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - known.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return [known[name] for name in arguments.names or known], max(1, arguments.at_once)


async def was_missed(mutation: Mutation, turns: asyncio.Semaphore) -> bool:
    """Switch one safeguard off, print what came of it, and say whether a test failed."""
    async with turns:
        began_s = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            root = copied(Path(folder))
            switched_off(root, mutation)
            status, output = await run_tests(root, "--exitfirst", *mutation.tests)
        lasted_s = time.monotonic() - began_s
    failed = [line for line in output.splitlines() if line.startswith("FAILED ")]
    is_missed = status == FAILED and bool(failed)
    said = failed[0].partition("::")[2][:SHOWN_CHARS] if is_missed else "NO TEST FAILED"
    print(f"{mutation.name:28} {lasted_s:6.1f} s  {said}", flush=True)
    if status not in {PASSED, FAILED}:
        print(output)
    return is_missed


async def run_tests(root: Path, *arguments: str) -> tuple[int, str]:
    """Run tests of a copy and return pytest's exit status and what it said."""
    options = ("-q", "-p", "no:cacheprovider", "-m", "fault or not fault")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", *options, f"--timeout={TEST_TIMEOUT_S}", *arguments),
        cwd=root,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, output.decode(errors="replace")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
