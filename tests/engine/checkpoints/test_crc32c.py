"""The checksum: as published, and the same for a long text as bit by bit."""

import numpy as np
import pytest

from engine.checkpoints.crc32c import POLYNOMIAL, crc32c, masked_crc32c


def bit_by_bit(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (POLYNOMIAL if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "published"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
    ],
)
def test_it_is_what_rfc_3720_prints(data: bytes, published: int):
    assert crc32c(np.frombuffer(data, np.uint8)) == published


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1536, 3 * 512 + 7, 20 * 512])
def test_stretches_side_by_side_give_what_one_bit_after_the_other_gives(size: int):
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    assert crc32c(data) == bit_by_bit(data.tobytes())


def test_blocks_continue_each_other(monkeypatch: pytest.MonkeyPatch):
    data = np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)
    whole = crc32c(data)
    monkeypatch.setattr("engine.checkpoints.crc32c.BLOCK_BYTES", 1024)
    assert crc32c(data) == whole == bit_by_bit(data.tobytes())


def test_the_mask_is_tensorflows():
    # The trailer of the empty block in every index that TensorFlow writes: eight bytes, then 0.
    block = bytes([0, 0, 0, 0, 1, 0, 0, 0, 0])
    assert masked_crc32c(np.frombuffer(block, np.uint8)) == int.from_bytes(
        b"\xc0\xf2\xa1\xb0", "little"
    )
