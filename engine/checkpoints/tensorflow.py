"""Reads OpenAI's release of GPT-2, a checkpoint of TensorFlow, without TensorFlow.

`PREFIX.index` is a table from a tensor's name to its type, shape and place in the files
`PREFIX.data-00000-of-00001`. Checksums are checked: those of the index at once, that of a tensor
when it is read (some 6 s for a GB).

Source: tensorflow/tensorflow:tensorflow/core/protobuf/tensor_bundle.proto and
core/util/tensor_bundle/naming.cc; the names are those of openai/gpt-2:src/model.py.
"""

import math
import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from engine.checkpoints.crc32c import masked_crc32c
from engine.checkpoints.protocol_buffers import Fields, read_fields
from engine.checkpoints.stored import (
    DamagedError,
    StoredTensor,
    StoredTensors,
    check_ordinary,
    reading,
)
from engine.checkpoints.table import read_table

MAX_INDEX_BYTES = 16 * 2**20
"""The index of the largest GPT-2 has 21 KiB."""
MAX_SHARDS = 99999  # more do not fit into the files' names
MAX_DIMS = 8
FORMAT_VERSION = 1
FLOATS = {1: torch.float32, 2: torch.float64, 14: torch.bfloat16, 19: torch.float16}
"""TensorFlow's numbers of the types that weights have."""
LATEST = re.compile(r'^model_checkpoint_path: *"([^"\\]+)"', re.MULTILINE)
BLOCK = r"h(?:0|[1-9][0-9]*)"
WEIGHT = re.compile(
    rf"model/(?:(wte|wpe)|((?:ln_f|{BLOCK}/ln_[12])/[gb]|{BLOCK}/(?:attn|mlp)/c_[a-z]+/[wb]))"
)
KINDS = {"g": "weight", "w": "weight", "b": "bias"}


class _Entry(NamedTuple):
    name: str
    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int

    @property
    def module_shape(self) -> tuple[int, ...]:
        """Return the shape as a matrix: OpenAI's linear weights are convolutions of width 1."""
        is_linear = len(self.shape) == 3 and self.shape[0] == 1
        return self.shape[1:] if is_linear else self.shape


def find_tensorflow(folder: Path) -> Path | None:
    """Return the index file: the one that `checkpoint` names last, or else the only one there is.

    Training writes the path that it had then into `checkpoint`; only the name is taken from it, and
    looked for in the folder.

    Raises:
        ModelError: there are several and nothing says which, or the one named is missing.
    """
    state = folder / "checkpoint"
    if state.is_file():
        with reading(state):
            latest = LATEST.search(state.read_text(encoding="utf-8"))
            if latest is None:
                msg = "it names no model_checkpoint_path"
                raise DamagedError(msg)
            name = re.split(r"[/\\]", latest[1])[-1]
            if not (folder / f"{name}.index").is_file():
                msg = f"it names {name}, and {name}.index is missing"
                raise DamagedError(msg)
            return folder / f"{name}.index"
    indexes = sorted(folder.glob("*.index"))
    if len(indexes) > 1:
        with reading(folder):
            msg = f"it holds {len(indexes)} checkpoints of TensorFlow and no file checkpoint"
            raise DamagedError(msg)
    return indexes[0] if indexes else None


def read_tensorflow(index: Path) -> StoredTensors:
    """Describe the tensors under the names that Hugging Face gives them; others keep their own.

    Raises:
        ModelError: a file is damaged or missing.
    """
    with reading(index):
        entries, num_shards = _read_index(index)
    tensors: StoredTensors = {}
    for number in sorted({entry.shard for entry in entries}):
        stem = index.name.removesuffix(".index")
        path = index.with_name(f"{stem}.data-{number:05d}-of-{num_shards:05d}")
        held = sorted((entry for entry in entries if entry.shard == number), key=_place)
        with reading(path):
            check_ordinary(path)
            size_bytes = path.stat().st_size
            _check_places(held, size_bytes)
            data = torch.from_file(str(path), shared=False, size=size_bytes, dtype=torch.uint8)
        for entry in held:
            tensors[_module_name(entry.name)] = StoredTensor(
                path, entry.module_shape, partial(_load, entry, data)
            )
    return tensors


def _read_index(index: Path) -> tuple[list[_Entry], int]:
    check_ordinary(index)
    size_bytes = index.stat().st_size
    if size_bytes > MAX_INDEX_BYTES:
        msg = f"it has {size_bytes} bytes, and at most {MAX_INDEX_BYTES} are read"
        raise DamagedError(msg)
    table = read_table(index.read_bytes())
    header = read_fields(table.pop(b"", b""))
    num_shards = _number(header, 1)
    oldest_reader = _number(read_fields(_message(header, 3)), 2)
    if not 1 <= num_shards <= MAX_SHARDS or oldest_reader > FORMAT_VERSION:
        msg = f"it claims {num_shards} data files in version {oldest_reader} of the format"
        raise DamagedError(msg)
    if _number(header, 2):
        msg = "its numbers are big-endian"
        raise DamagedError(msg)
    entries = [_read_entry(key.decode(), read_fields(value)) for key, value in table.items()]
    for entry in entries:
        if entry.shard >= num_shards:
            msg = f"{entry.name} is in data file {entry.shard} of {num_shards}"
            raise DamagedError(msg)
    return entries, num_shards


def _read_entry(name: str, fields: Fields) -> _Entry:
    if 7 in fields:
        msg = f"{name} is stored in slices: save the model again in one piece"
        raise DamagedError(msg)
    dims = [read_fields(_bytes(dim)) for dim in read_fields(_message(fields, 2)).get(2, [])]
    shape = tuple(_number(dim, 1) for dim in dims)
    if len(shape) > MAX_DIMS or any(length >= 2**63 for length in shape):
        msg = f"{name} has {len(shape)} dimensions, or one below 0"
        raise DamagedError(msg)
    places = (_number(fields, 3), _number(fields, 4), _number(fields, 5))
    return _Entry(name, _number(fields, 1), shape, *places, crc=_number(fields, 6))


def _check_places(entries: list[_Entry], size_bytes: int) -> None:
    """Check that tensors, sorted by place, have room for their numbers and share none of it."""
    behind = 0
    for entry in entries:
        dtype = FLOATS.get(entry.dtype)
        if dtype and entry.size != math.prod(entry.shape) * dtype.itemsize:
            msg = f"{entry.name} of shape {entry.shape} is said to take {entry.size} bytes"
            raise DamagedError(msg)
        if entry.offset < behind:
            msg = f"{entry.name} begins at {entry.offset}, inside of the tensor before it"
            raise DamagedError(msg)
        behind = entry.offset + entry.size
        if behind > size_bytes:
            msg = f"{entry.name} should end at {behind}, and the file ends at {size_bytes}"
            raise DamagedError(msg)


def _load(entry: _Entry, data: Tensor) -> Tensor:
    dtype = FLOATS.get(entry.dtype)
    if dtype is None:
        msg = f"{entry.name} holds TensorFlow's type {entry.dtype}, and weights are floats"
        raise DamagedError(msg)
    stored = data[entry.offset : entry.offset + entry.size]
    if masked_crc32c(stored.numpy()) != entry.crc:
        msg = f"the checksum of {entry.name} is wrong"
        raise DamagedError(msg)
    if entry.offset % dtype.itemsize:  # behind a tensor of bytes; floats begin at whole places
        stored = stored.clone()
    return stored.view(dtype).reshape(entry.module_shape)


def _module_name(name: str) -> str:
    """Return Hugging Face's name for OpenAI's.

    >>> _module_name("model/h11/attn/c_proj/w")
    'h.11.attn.c_proj.weight'
    """
    match = WEIGHT.fullmatch(name)
    if match is None:
        return name
    if match[1]:
        return f"{match[1]}.weight"
    *modules, kind = match[2].split("/")
    if modules[0] != "ln_f":
        modules[0] = f"h.{modules[0][1:]}"
    return ".".join((*modules, KINDS[kind]))


def _place(entry: _Entry) -> tuple[int, int]:
    return entry.offset, entry.size


def _number(fields: Fields, field: int) -> int:
    value = fields.get(field, [0])[-1]
    if not isinstance(value, int):
        msg = f"field {field} in it should be a number"
        raise DamagedError(msg)
    return value


def _message(fields: Fields, field: int) -> bytes:
    return _bytes(fields.get(field, [b""])[-1])


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        msg = "a number in it should be a message"
        raise DamagedError(msg)
    return value
