"""Reads `*.safetensors`, Hugging Face's format. The library checks header, offsets and overlaps."""

from functools import partial
from pathlib import Path
from typing import Any

from safetensors import safe_open

from engine.checkpoints.stored import StoredTensor, StoredTensors, reading


def read_safetensors(path: Path) -> StoredTensors:
    """Describe the tensors of one file, which stays mapped while they are held.

    Raises:
        ModelError: the file is damaged or cannot be read.
    """
    with reading(path):
        file: Any = safe_open(path, framework="pt")
        return {
            name: StoredTensor(
                path, tuple(file.get_slice(name).get_shape()), partial(file.get_tensor, name)
            )
            for name in file.keys()  # noqa: SIM118 - the handle is no mapping
        }
