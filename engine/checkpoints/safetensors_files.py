"""Reads `*.safetensors`, Hugging Face's format. The library checks header, offsets and overlaps."""

from functools import partial
from pathlib import Path
from typing import Any

from safetensors import safe_open

from engine.checkpoints.stored import (
    DamagedError,
    StoredTensor,
    StoredTensors,
    check_ordinary,
    reading,
)

MAX_HEADER_BYTES = 16 * 2**20
"""That of the largest GPT-2 has some 60 KiB. The library reads up to 100 MB, which takes GBs."""


def read_safetensors(path: Path) -> StoredTensors:
    """Describe the tensors of one file, which stays mapped while they are held.

    Raises:
        ModelError: the file is damaged or cannot be read.
    """
    with reading(path):
        check_ordinary(path)
        _check_header(path)
        file: Any = safe_open(path, framework="pt")
        return {
            name: StoredTensor(
                path, tuple(file.get_slice(name).get_shape()), partial(file.get_tensor, name)
            )
            for name in file.keys()  # noqa: SIM118 - the handle is no mapping
        }


def _check_header(path: Path) -> None:
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
    if header_bytes > MAX_HEADER_BYTES:
        msg = f"its header has {header_bytes} bytes, and at most {MAX_HEADER_BYTES} are read"
        raise DamagedError(msg)
