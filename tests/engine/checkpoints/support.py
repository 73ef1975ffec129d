"""What these tests share: TensorFlow's files as TensorFlow wrote them, and a writer of odd ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.checkpoints.crc32c import masked_crc32c
from engine.checkpoints.opening import open_checkpoint
from engine.checkpoints.table import MAGIC

DATA = Path(__file__).parents[1] / "data"
OPENAI = DATA / "openai"
IN_THREE_FILES = DATA / "openai_in_three_files"


def read_all(folder: Path) -> dict[str, Tensor]:
    return {name: stored.read() for name, stored in open_checkpoint(folder).tensors.items()}


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


def varint(number: int) -> bytes:
    """A negative number is written as its complement to 2**64."""
    number %= 2**64
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


def message(*fields: tuple[int, int | bytes]) -> bytes:
    """Write a protocol buffer."""
    written = b""
    for number, value in fields:
        if isinstance(value, int):
            written += varint(number << 3) + varint(value)
        else:
            written += varint(number << 3 | 2) + varint(len(value)) + value
    return written


def table(*blocks: Sequence[tuple[bytes, bytes]], compression: int = 0) -> bytes:
    """Write a table whose keys stand in the order given, each repeating what it can."""
    written = b""
    listed = []
    for entries in blocks:
        listed.append((entries[-1][0], handle(len(written), len(block(entries)))))
        written += summed(block(entries), compression)
    return finish(written, listed)


def finish(blocks: bytes, listed: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Write the list of the blocks and the footer behind them."""
    index = block(listed)
    footer = handle(0, 0) + handle(len(blocks), len(index))
    return blocks + summed(index) + footer.ljust(40, b"\0") + MAGIC.to_bytes(8, "little")


def handle(offset: int, size: int) -> bytes:
    return varint(offset) + varint(size)


def block(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    written, last = b"", b""
    for key, value in entries:
        places = range(min(len(key), len(last)))
        shared = next((at for at in places if key[at] != last[at]), len(places))
        written += varint(shared) + varint(len(key) - shared) + varint(len(value))
        written += key[shared:] + value
        last = key
    return written + bytes(4) + (1).to_bytes(4, "little")


def summed(content: bytes, compression: int = 0) -> bytes:
    """Write how a block is compressed, and its checksum, behind it."""
    content += bytes([compression])
    return content + masked_crc32c(np.frombuffer(content, np.uint8)).to_bytes(4, "little")
