"""Reads `pytorch_model.bin`, what `torch.save` makes of a state dict. Runs no code in it."""

import io
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from engine.checkpoints.pickles import check_pickle
from engine.checkpoints.stored import (
    DamagedError,
    StoredTensor,
    StoredTensors,
    check_ordinary,
    reading,
)

MAX_PICKLE_BYTES = 16 * 2**20
"""The pickle of the largest GPT-2 has some 60 KiB: it names tensors and holds none."""
OLD_FORMAT_PICKLES = 5
"""Before PyTorch 1.6: magic number, version, system, the state dict, and the storages' keys."""
TIED = "lm_head.weight"


def read_pytorch(path: Path) -> StoredTensors:
    """Describe the tensors of one file.

    A file of PyTorch 1.6 or later stays mapped while they are held; an older one is read whole.

    Raises:
        ModelError: the file is damaged, or holds anything but a table of tensors.
    """
    with reading(path):
        check_ordinary(path)
        is_zip = zipfile.is_zipfile(path)
        if is_zip:
            _check_zip(path)
        else:
            _check_old_format(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
        _check_state(state, path.stat().st_size)
        return {
            name: StoredTensor(path, tuple(tensor.shape), tensor.detach)
            for name, tensor in state.items()
        }


def _check_zip(path: Path) -> None:
    """Refuse what `torch.save` never writes, before PyTorch allocates what the file claims."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        claimed_bytes = sum(entry.file_size for entry in entries)
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if packed or claimed_bytes > path.stat().st_size or len(set(names)) != len(names):
            msg = "its zip entries are compressed, doubled, or larger than the file"
            raise DamagedError(msg)
        pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > MAX_PICKLE_BYTES:
            msg = "it is a zip file without the one data.pkl that torch.save writes"
            raise DamagedError(msg)
        check_pickle(io.BytesIO(archive.read(pickles[0])))


def _check_old_format(path: Path) -> None:
    with path.open("rb") as file:
        pickles = io.BytesIO(file.read(MAX_PICKLE_BYTES))
    for _ in range(OLD_FORMAT_PICKLES):
        check_pickle(pickles)


def _check_state(state: object, size_bytes: int) -> None:
    if not isinstance(state, dict):
        msg = f"it holds a {type(state).__name__} and no table of tensors"
        raise DamagedError(msg)
    claimed_bytes = 0
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            msg = f"it holds {type(tensor).__name__} under the name {name!r:.80}, and no tensor"
            raise DamagedError(msg)
        if name != TIED:
            claimed_bytes += tensor.numel() * tensor.element_size()
    # Strides can spread a few stored numbers over a tensor of any size.
    if claimed_bytes > size_bytes:
        msg = f"its tensors claim {claimed_bytes} bytes, and the file has {size_bytes}"
        raise DamagedError(msg)
