"""What the tests of fine-tuning share: waiting for processes, and telling whether they run."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEADLINE_S = 120
"""Training is a process of its own, which loads PyTorch first."""
POLL_S = 0.02
ARGUMENTS = ("--device", "cpu", "--threads", "1")


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(POLL_S)


def is_alive(process_id: int) -> bool:
    """Whether a process runs; one that has ended and was not asked for yet does not."""
    try:
        status = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def pids(models: Path) -> list[int]:
    found = []
    for path in (models / ".files" / "jobs").glob("*.pid"):
        # It may have gone away since it was found.
        with contextlib.suppress(FileNotFoundError):
            found.append(path.read_text(encoding="ascii"))
    return [int(text) for text in found if text]
