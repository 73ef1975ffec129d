"""Computes CRC-32C, the checksum of TensorFlow's files, at numpy's speed. Knows no file.

The register is linear in what it has taken in: after `a` and then `b` it is what `a` alone leaves,
moved on by the length of `b`, XOR what `b` alone leaves. So a long text is cut into stretches of
one length that are taken in side by side, two bytes at a step, and then joined in pairs.

Source: RFC 3720, appendix B.4 (the polynomial); the masking is `Mask` in
tensorflow/tensorflow:tensorflow/core/lib/hash/crc32c.h.
"""

import functools

import numpy as np
from numpy.typing import NDArray

POLYNOMIAL = 0x82F63B78  # the lowest bit stands for the highest power
STRETCH_BYTES = 512
BLOCK_BYTES = 2**24
MASK_DELTA = 0xA282EAD8

Registers = NDArray[np.uint32]


def masked_crc32c(data: NDArray[np.uint8]) -> int:
    """Return the checksum as TensorFlow stores it, turned by 15 bits and shifted."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def crc32c(data: NDArray[np.uint8]) -> int:
    """Return the CRC-32C of bytes.

    >>> hex(crc32c(np.frombuffer(b"123456789", np.uint8)))
    '0xe3069283'
    """
    register = 0xFFFFFFFF
    whole = len(data) - len(data) % STRETCH_BYTES
    for start in range(0, whole, BLOCK_BYTES):
        block = data[start : min(start + BLOCK_BYTES, whole)]
        before = np.array([register], np.uint32)
        for power in range(len(block).bit_length()):
            if len(block) >> power & 1:
                before = _move(before, power)
        register = int(before[0]) ^ _take_in(block)
    one_byte = _mover(0)[0]
    for byte in data[whole:].tolist():
        register = int(one_byte[(register ^ byte) & 0xFF]) ^ register >> 8
    return register ^ 0xFFFFFFFF


def _take_in(block: NDArray[np.uint8]) -> int:
    """Return what an empty register holds after a whole number of stretches."""
    stretches = block.reshape(-1, STRETCH_BYTES).view("<u2")
    registers = np.zeros(len(stretches), np.uint32)
    two_bytes = _two_byte_table()
    for words in np.ascontiguousarray(stretches.T):
        registers = two_bytes[(registers ^ words) & 0xFFFF] ^ registers >> 16
    power = STRETCH_BYTES.bit_length() - 1
    while len(registers) > 1:
        if len(registers) % 2:  # nothing taken in, then these: the same as these
            registers = np.concatenate([np.zeros(1, np.uint32), registers])
        registers = _move(registers[0::2], power) ^ registers[1::2]
        power += 1
    return int(registers[0])


def _move(registers: Registers, power: int) -> Registers:
    """Return the registers after 2**power more bytes of zero."""
    table = _mover(power)
    moved = np.zeros_like(registers)
    for place in range(4):
        moved ^= table[place][registers >> 8 * place & 0xFF]
    return moved


@functools.cache
def _mover(power: int) -> Registers:
    """Return `(4, 256)`: where each value of each byte of a register goes in 2**power zeros."""
    if power == 0:
        bits = np.array([1 << bit for bit in range(32)], np.uint32)
        for _ in range(8):
            bits = np.where(bits & 1, bits >> 1 ^ POLYNOMIAL, bits >> 1).astype(np.uint32)
    else:
        bits = np.array([1 << bit for bit in range(32)], np.uint32)
        bits = _move(_move(bits, power - 1), power - 1)
    table = np.zeros((4, 256), np.uint32)
    values = np.arange(256)
    for bit, moved in enumerate(bits):
        table[bit // 8] ^= (values >> bit % 8 & 1).astype(np.uint32) * moved
    return table


@functools.cache
def _two_byte_table() -> Registers:
    """Return where each value of a register's lower half goes in two bytes of zero."""
    return _move(np.arange(2**16, dtype=np.uint32), 1)
