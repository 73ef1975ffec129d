"""Starts, watches and stops the programs of the demo; knows none of what they say to each other.

Each is a child in a process group of its own, so that Ctrl-C reaches only us and they are stopped
in order. What they write goes into a log file, and one line of it says that they are ready.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.orphans import die_with_parent

START_WITHIN_S = 120.0
STOP_WITHIN_S = 15.0
SHOWN_LINES = 12
LONGEST_LINE_BYTES = 1 << 20


class ProgramError(RuntimeError):
    """A program did not start or died; the message is for a person, with its last log lines."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to start.

    Attributes:
        name: What people call it.
        command: The program and its arguments.
        ready_line: What a line of its output holds once it is ready.
        environment: Variables beside those of our own environment.
    """

    name: str
    command: tuple[str, ...]
    ready_line: str
    environment: Mapping[str, str]


class Child:
    """A program that was started."""

    def __init__(self, program: Program, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = program.name
        self._ready_line = program.ready_line
        self._process = process
        self._log = log
        self._last_lines: deque[str] = deque(maxlen=SHOWN_LINES)
        self._ready = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        output = self._process.stdout
        if output is None:
            return
        with self._log.open("ab") as log:
            while line := await _next_line(output):
                log.write(line)
                log.flush()
                text = line.decode(errors="replace").rstrip()
                self._last_lines.append(text)
                if self._ready_line in text:
                    self._ready.set()

    async def ready(self, within_s: float) -> None:
        """Wait for the line that says it is ready.

        Raises:
            ProgramError: when it ends first, or takes longer than `within_s`.
        """
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait(
                (ready, self._reader), timeout=within_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            ready.cancel()
        if self._ready.is_set():
            return
        if self._reader.done():
            await self.died()
        msg = f"The {self.name} was not ready within {within_s:g} s. {self._told()}"
        raise ProgramError(msg)

    async def died(self) -> None:
        """Wait until it ends by itself.

        Raises:
            ProgramError: always, saying how.
        """
        await self._reader
        status = await self._process.wait()
        how = f"with status {status}" if status >= 0 else f"by {signal.Signals(-status).name}"
        msg = f"The {self.name} ended {how}. {self._told()}"
        raise ProgramError(msg)

    def _told(self) -> str:
        if not self._last_lines:
            return f"It wrote nothing. Its log would be {self._log}."
        lines = "\n".join(f"    {line}" for line in self._last_lines)
        return f"The last lines of {self._log} are:\n{lines}"

    async def stop(self) -> None:
        """Ask it to end with SIGTERM; after 15 s kill it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)


async def _next_line(output: asyncio.StreamReader) -> bytes:
    try:
        return await output.readline()
    except ValueError:
        # A line that is longer than the buffer: what was read of it is gone, the rest goes on.
        return b"(a line too long to keep)\n"


@asynccontextmanager
async def running(program: Program, folder: Path) -> AsyncIterator[Child]:
    """Run a program while the block lasts, its log in `folder`; it need not be ready yet.

    Raises:
        ProgramError: when it can't be started at all.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *program.command,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **program.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LONGEST_LINE_BYTES,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
    except OSError as error:
        msg = f"The {program.name} could not be started: {error}"
        raise ProgramError(msg) from None
    child = Child(program, process, folder / f"{program.name}.log")
    try:
        yield child
    finally:
        await child.stop()


@contextmanager
def log_folder() -> Iterator[Path]:
    """Make a folder for logs; it stays when a program failed, to be looked at."""
    folder = Path(tempfile.mkdtemp(prefix="ovid-demo-"))
    keep = False
    try:
        yield folder
    except RuntimeError:
        keep = True
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
