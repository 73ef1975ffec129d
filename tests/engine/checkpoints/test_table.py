"""Index files of TensorFlow: several blocks are one table, and none of them leads in a circle."""

import pytest

from engine.checkpoints.protocol_buffers import read_fields, read_varint
from engine.checkpoints.stored import DamagedError
from engine.checkpoints.table import read_table
from tests.engine.checkpoints.support import OPENAI, finish, handle, message, table, varint

ROWS = [(f"model/h{row:03}/w".encode(), bytes([row]) * row) for row in range(200)]


def test_a_table_of_many_blocks_is_read_in_order():
    blocks = [ROWS[start : start + 7] for start in range(0, len(ROWS), 7)]
    assert list(read_table(table(*blocks)).items()) == ROWS


def test_every_key_of_tensorflows_own_table_is_found():
    found = read_table((OPENAI / "model.ckpt.index").read_bytes())
    assert len(found) == 1 + 2 + 2 + 2 * 12
    assert list(found) == sorted(found)
    assert found[b""]


def test_a_block_that_is_listed_twice_is_refused():
    one = table(ROWS[:5])
    size = one.index(bytes(4) + b"\1") + 8
    assert read_table(finish(one, [(b"model/h009", handle(0, size))])) == dict(ROWS[:5])
    with pytest.raises(DamagedError, match="not in order"):
        read_table(
            finish(one, [(b"model/h009", handle(0, size)), (b"model/h010", handle(0, size))])
        )


def test_a_key_that_comes_twice_is_refused():
    with pytest.raises(DamagedError, match="not in order"):
        read_table(table([ROWS[3], ROWS[3]]))


def test_a_compressed_block_is_refused_with_what_to_do():
    with pytest.raises(DamagedError, match="compressed: save the checkpoint again"):
        read_table(table(ROWS, compression=1))


@pytest.mark.parametrize("place", [0, 10, 400])
def test_a_changed_byte_is_found_by_the_checksum(place: int):
    data = bytearray((OPENAI / "model.ckpt.index").read_bytes())
    data[place] ^= 0x10
    with pytest.raises(DamagedError, match="the checksum of its block at 0 is wrong"):
        read_table(bytes(data))


@pytest.mark.parametrize("keep_bytes", [0, 7, 47, 48, 500, -1])
def test_a_truncated_table_is_refused(keep_bytes: int):
    with pytest.raises(DamagedError, match="does not end as an index file"):
        read_table((OPENAI / "model.ckpt.index").read_bytes()[:keep_bytes])


def test_a_block_beyond_the_file_is_refused_before_it_is_read():
    data = bytearray(table(ROWS[:3]))
    data[-48:-8] = (handle(0, 0) + handle(2**62, 2**62)).ljust(40, b"\0")
    with pytest.raises(DamagedError, match="bytes should stand at 4611686018427387904"):
        read_table(bytes(data))


def test_a_key_so_long_that_repeating_it_would_cost_memory_is_refused():
    longest = [(b"k" * 4093 + row.to_bytes(3, "big"), b"") for row in range(20)]
    assert list(read_table(table(longest)).items()) == longest
    longer = [(b"k" * 10**6 + row.to_bytes(3, "big"), b"") for row in range(3)]
    with pytest.raises(DamagedError, match="reaches past its key"):
        read_table(table(longer))


@pytest.mark.parametrize(
    "endless", [b"\x80" * 20, b"\xff" * 10, b"\xff" * 9 + b"\x02", b"\x80", b""], ids=repr
)
def test_a_number_that_does_not_end_is_refused(endless: bytes):
    with pytest.raises(DamagedError, match="a number in it does not end"):
        read_varint(endless, 0)


def test_the_largest_number_is_read():
    assert read_varint(varint(2**64 - 1), 0) == (2**64 - 1, 10)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (message((2, b"abc"))[:-1], "3 bytes should stand at 2"),
        (varint(2 << 3 | 2) + varint(2**63), "bytes should stand at"),
        (b"\x0b", "unknown type 3"),
        (b"\x0d\x01\x02", "4 bytes should stand at 1"),
    ],
)
def test_a_message_that_is_cut_off_is_refused(data: bytes, said: str):
    with pytest.raises(DamagedError, match=said):
        read_fields(data)
