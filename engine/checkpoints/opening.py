"""Chooses among the weights in a model folder. Knows the formats' file names, not the formats."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from engine.checkpoints.pytorch import read_pytorch
from engine.checkpoints.safetensors_files import read_safetensors
from engine.checkpoints.sharded import read_sharded
from engine.checkpoints.stored import StoredTensors
from engine.checkpoints.tensorflow import find_tensorflow, read_tensorflow
from engine.errors import ModelError

SAFETENSORS_NAME = "model.safetensors"
READERS: dict[str, Callable[[Path], StoredTensors]] = {
    SAFETENSORS_NAME: read_safetensors,
    "model.safetensors.index.json": partial(read_sharded, read_shard=read_safetensors),
    "pytorch_model.bin": read_pytorch,
    "pytorch_model.bin.index.json": partial(read_sharded, read_shard=read_pytorch),
}
"""The best first: safetensors is read without unpacking, and holds nothing but numbers."""


class Checkpoint(NamedTuple):
    """The weights of a model folder: the file to name in an error, and its tensors by name."""

    path: Path
    tensors: StoredTensors


def open_checkpoint(folder: Path) -> Checkpoint:
    """Describe the weights in a folder, in whichever format they are; safetensors is preferred.

    Raises:
        ModelError: there are none, or their files are damaged.
    """
    for name, read in READERS.items():
        if (folder / name).is_file():
            return Checkpoint(folder / name, read(folder / name))
    index = find_tensorflow(folder)
    if index is not None:
        return Checkpoint(index, read_tensorflow(index))
    msg = (
        f"{folder} holds no weights: {SAFETENSORS_NAME} is missing, and so are "
        f"pytorch_model.bin and a checkpoint of TensorFlow"
    )
    raise ModelError(msg)
