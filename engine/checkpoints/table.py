"""Reads the sorted table of keys and values that an index file of TensorFlow is. Knows no tensor.

The file is blocks of entries, and a footer that says where the block that lists them is. An entry
tells how much of the key before it its own repeats. Keys have to grow from one entry to the next,
so that a block that is listed twice is found out and every read ends.

Source: google/leveldb:doc/table_format.md; format.cc and block.cc in
tensorflow/tensorflow:tensorflow/core/lib/io. Compressed blocks are refused: TensorFlow has written
none into checkpoints since before GPT-2.
"""

from collections.abc import Iterator

import numpy as np

from engine.checkpoints.crc32c import masked_crc32c
from engine.checkpoints.protocol_buffers import read_varint, take
from engine.checkpoints.stored import DamagedError

MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
TRAILER_BYTES = 5  # how the block is compressed, and its checksum
MAX_KEY_BYTES = 4096
"""Far above any tensor's name; a key that repeats most of a long one before it costs memory."""


def read_table(data: bytes) -> dict[bytes, bytes]:
    """Return the table in key order, every block's checksum checked.

    Raises:
        DamagedError: the file is cut off, changed, or no table.
    """
    footer = data[-FOOTER_BYTES:]
    if len(footer) < FOOTER_BYTES or int.from_bytes(footer[-8:], "little") != MAGIC:
        msg = "it does not end as an index file of TensorFlow does"
        raise DamagedError(msg)
    _, _, behind = _handle(footer, 0)
    offset, size, _ = _handle(footer, behind)
    table: dict[bytes, bytes] = {}
    last = None
    for _, handle in _entries(_block(data, offset, size)):
        offset, size, _ = _handle(handle, 0)
        for key, value in _entries(_block(data, offset, size)):
            if last is not None and key <= last:
                msg = "its keys are not in order"
                raise DamagedError(msg)
            table[key] = value
            last = key
    return table


def _handle(data: bytes, at: int) -> tuple[int, int, int]:
    offset, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return offset, size, at


def _block(data: bytes, offset: int, size: int) -> bytes:
    block = take(data, offset, size + TRAILER_BYTES)
    summed, stored = block[:-4], int.from_bytes(block[-4:], "little")
    if masked_crc32c(np.frombuffer(summed, np.uint8)) != stored:
        msg = f"the checksum of its block at {offset} is wrong"
        raise DamagedError(msg)
    if summed[-1] != 0:
        msg = "it is compressed: save the checkpoint again with a later TensorFlow"
        raise DamagedError(msg)
    return summed[:-1]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    num_restarts = int.from_bytes(take(block, max(0, len(block) - 4), 4), "little")
    end = len(block) - 4 * (num_restarts + 1)
    if end < 0:
        msg = f"a block of {len(block)} bytes in it claims {num_restarts} restart points"
        raise DamagedError(msg)
    key, at = b"", 0
    while at < end:
        shared, at = read_varint(block, at)
        unshared, at = read_varint(block, at)
        length, at = read_varint(block, at)
        if shared > len(key) or shared + unshared > MAX_KEY_BYTES or at + unshared + length > end:
            msg = "an entry in it reaches past its key or its block"
            raise DamagedError(msg)
        key = key[:shared] + block[at : at + unshared]
        value = block[at + unshared : at + unshared + length]
        at += unshared + length
        yield key, value
