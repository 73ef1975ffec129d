"""Owns one run of `python -m engine finetune`: its command line, its end, its log of losses.

Knows nothing of jobs: it says what the process said.
"""

import asyncio
import contextlib
import csv
import itertools
import json
import math
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path

SECRETS = ("OVID_HTTP_TOKEN", "OVID_REDIS_URL", "DISCORD_TOKEN")
"""What a training process has no need to know."""
KILL_AFTER_S = 20.0
"""How long it may take to end at SIGTERM: it finishes a step and saves."""
DYING_S = 0.05
"""How often a killed process is looked after."""
NICENESS = 10
"""Replies go first, training takes the time that is left."""
TAIL_BYTES = 4096
COLUMNS = {"loss": "train_loss", "held_out_loss": "valid_loss"}
"""Columns of the loss log under the names that OpenAI gives them."""


class TrainingProcess:
    """A process that trains.

    Args:
        arguments: of `finetune`.
        model_folder: that it fills.
        stderr: file for what it says; the tail is kept in mind for its error.
    """

    def __init__(self, arguments: list[str], model_folder: Path, stderr: Path) -> None:
        self._arguments = arguments
        self._model_folder = model_folder
        self._stderr = stderr
        self._process: Process | None = None

    async def start(self) -> int:
        """Start it, and return its process id."""
        environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
        with self._stderr.open("wb") as stderr:
            self._process = await asyncio.create_subprocess_exec(
                *command_line(self._arguments),
                env=environment,
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=stderr,
                # A Ctrl-C at the server's terminal is the server's to pass on.
                start_new_session=True,
            )
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PGRP, self._process.pid, NICENESS)
        return self._process.pid

    async def wait(self) -> int:
        """Wait for its end, and return its status."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        """End it: politely, and after a while by force. Harmless when it has ended."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(KILL_AFTER_S):
                await process.wait()
        except TimeoutError:
            _signal_group(process.pid, signal.SIGKILL)
            await process.wait()

    def losses(self, after_step: int) -> list[dict[str, float]]:
        """Return what was measured after a step, a row each with its `step`."""
        for folder in (self._model_folder / ".train", self._model_folder):
            with contextlib.suppress(OSError):
                text = (folder / "losses.csv").read_text(encoding="utf-8")
                return read_losses(text, after_step)
        return []

    def has_finished(self) -> bool:
        """Return whether its model is whole; it clears its own folder away last."""
        is_saved = (self._model_folder / "training.json").is_file()
        return is_saved and not (self._model_folder / ".train").exists()

    def error(self, status: int) -> str:
        """Return why it ended with a status: the last line that it said, or what killed it."""
        if status < 0:
            return (
                f"The training process was killed ({signal.Signals(-status).name}); "
                "where nobody did, the machine has run out of memory."
            )
        try:
            said = self._stderr.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
        except OSError:
            said = ""
        # A progress bar writes over its own line.
        lines = [line.strip() for line in said.replace("\r", "\n").splitlines() if line.strip()]
        return lines[-1].removeprefix("finetune: ") if lines else "It ended without a word."

    def forget(self) -> None:
        """Delete what it said."""
        self._stderr.unlink(missing_ok=True)

    def trained_tokens(self) -> int | None:
        """Return how many tokens its training text had, as it says itself."""
        try:
            said = json.loads((self._model_folder / "training.json").read_text(encoding="utf-8"))
            return int(said["train_tokens"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def command_line(arguments: list[str]) -> list[str]:
    """Return the whole command line of a training process."""
    return [sys.executable, "-m", "engine", "finetune", *arguments]


def read_losses(text: str, after_step: int) -> list[dict[str, float]]:
    r"""Return the rows of a loss log behind a step; cells that hold nothing are left out.

    A last line without its end is still being written.

    >>> read_losses("step,loss,held_out_loss\n1,2.5,\n2,2.25,2.75\n3,2.", after_step=1)
    [{'step': 2.0, 'train_loss': 2.25, 'valid_loss': 2.75}]
    """
    whole = text[: text.rfind("\n") + 1]
    rows = []
    for row in csv.DictReader(whole.splitlines()):
        cells = {COLUMNS.get(name, name): _number(cell) for name, cell in row.items() if name}
        known = {name: number for name, number in cells.items() if number is not None}
        if known.get("step", 0) > after_step:
            rows.append(known)
    return rows


async def end_orphan(process_id: int, model_name: str) -> None:
    """Kill a training process whose server has died, and wait until it holds nothing any more."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILL_AFTER_S):
            while _trains(process_id, model_name):
                _signal_group(process_id, signal.SIGKILL)
                await asyncio.sleep(DYING_S)


def _trains(process_id: int, model_name: str) -> bool:
    """Return whether that is what bears the id now; another program may have got it."""
    try:
        running = Path(f"/proc/{process_id}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return False
    arguments = running.split("\0")
    return "finetune" in arguments and ("--name", model_name) in itertools.pairwise(arguments)


def _number(cell: str | None) -> float | None:
    try:
        number = float(cell or "")
    except ValueError:
        return None
    # JSON has no word for a loss that is no number any more.
    return number if math.isfinite(number) else None


def _signal_group(process_id: int, number: signal.Signals) -> None:
    # It leads a group of its own, in which its helpers are too.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process_id, number)
