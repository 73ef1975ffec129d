"""Owns keeping a folder to one process at a time, until that process ends in whatever way."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import EngineError


@contextmanager
def alone_in(folder: Path, refusal: str) -> Iterator[None]:
    """Make a folder, and keep other processes that ask for it out.

    Args:
        folder: may be renamed meanwhile.
        refusal: the sentence for whoever comes second.

    Raises:
        EngineError: another process has it.
        OSError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EngineError(refusal) from None
        yield
    finally:
        os.close(descriptor)
