"""Reads the wire format of protocol buffers: varints and fields. Knows no message.

Source: protobuf.dev, "Encoding".
"""

from engine.checkpoints.stored import DamagedError

MAX_VARINT_BYTES = 10

Fields = dict[int, list[int | bytes]]


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the unsigned number at a place and the place behind it.

    Raises:
        DamagedError: it runs past the end of the data or past 64 bits.

    >>> read_varint(bytes([0b10101100, 0b00000010]), 0)
    (300, 2)
    """
    value = 0
    for length, byte in enumerate(data[at : at + MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * length)
        if byte < 0x80:
            if value >= 2**64:
                break
            return value, at + length + 1
    msg = "a number in it does not end"
    raise DamagedError(msg)


def read_fields(message: bytes) -> Fields:
    """Return the values of each field of a message, by the field's number.

    Varints and fixed numbers are unsigned; strings, bytes and messages are bytes.

    Raises:
        DamagedError: the message is cut off or no message.

    >>> read_fields(bytes([0x08, 0x96, 0x01, 0x12, 0x02, 0x68, 0x69]))
    {1: [150], 2: [b'hi']}
    """
    fields: Fields = {}
    at = 0
    while at < len(message):
        tag, at = read_varint(message, at)
        value: int | bytes
        match tag & 7:
            case 0:  # a varint
                value, at = read_varint(message, at)
            case 2:  # a length, then as many bytes
                length, at = read_varint(message, at)
                value, at = take(message, at, length), at + length
            case 1 | 5 as fixed:  # eight or four bytes
                length = 8 if fixed == 1 else 4
                value, at = int.from_bytes(take(message, at, length), "little"), at + length
            case unknown:
                msg = f"a field in it has the unknown type {unknown}"
                raise DamagedError(msg)
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def take(data: bytes, at: int, length: int) -> bytes:
    """Return `length` bytes from a place on.

    Raises:
        DamagedError: there are fewer.
    """
    if at + length > len(data):
        msg = f"{length} bytes should stand at {at}, and it ends at {len(data)}"
        raise DamagedError(msg)
    return data[at : at + length]
