"""Owns what every format gives: named tensors that are read one at a time, and how reading fails.

Knows no format. A file is described before its numbers are read, so that a name or shape that does
not belong is told before memory is spent on it.
"""

import json
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from engine.errors import ModelError

MAX_REASON_CHARS = 300
"""A reason may quote the file, and a file may call a tensor by a name of megabytes."""
MAX_JSON_BYTES = 16 * 2**20
"""A JSON index of the largest GPT-2 has some 50 KiB."""
UNREADABLE = (
    *(OSError, EOFError, MemoryError, SafetensorError, UnpicklingError, zipfile.BadZipFile),
    *(RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError),
    AssertionError,
)
"""What the libraries raise for a file that is cut off, damaged, or of another kind."""


class DamagedError(ValueError):
    """The file is not what its format says; the text completes "cannot read FILE: …"."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        path: the file that it is in.
        shape: as the file states it.
        load: gives the numbers; the tensor may share memory with the file.
    """

    path: Path
    shape: tuple[int, ...]
    load: Callable[[], Tensor]

    def read(self) -> Tensor:
        """Read the numbers.

        Raises:
            ModelError: the file is damaged.
        """
        with reading(self.path):
            return self.load()


StoredTensors = dict[str, StoredTensor]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever an unreadable file leads to into one sentence that names it.

    Raises:
        ModelError: always, in place of one of `UNREADABLE`.
    """
    try:
        yield
    except UNREADABLE as error:
        # Libraries append their advice or a list on lines of their own.
        reason, *_ = str(error).strip().splitlines() or [type(error).__name__]
        msg = f"cannot read {path}: {reason.rstrip('.:'):.{MAX_REASON_CHARS}}"
        raise ModelError(msg) from error


def check_ordinary(path: Path) -> None:
    """See that a file can be opened and has an end; at a pipe one would wait for ever.

    Raises:
        DamagedError: it is a pipe, a device, or a folder.
        OSError: it is not there.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        msg = "it is no ordinary file"
        raise DamagedError(msg)


def read_json_table(path: Path) -> dict[str, Any]:
    """Read a small JSON file that holds an object.

    Raises:
        DamagedError: it is no JSON, holds something else, or is far too large.
        OSError: it cannot be read.
    """
    size_bytes = path.stat().st_size
    if size_bytes > MAX_JSON_BYTES:
        msg = f"it has {size_bytes} bytes, and at most {MAX_JSON_BYTES} are read"
        raise DamagedError(msg)
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        msg = "it nests too deeply"
        raise DamagedError(msg) from error
    if not isinstance(table, dict):
        msg = "it is not a JSON table"
        raise DamagedError(msg)
    return table
