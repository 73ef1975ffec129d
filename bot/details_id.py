"""Details as a `custom_id` and back: whole in 100 characters, so no store can lose them. Pure.

The model's name is cut where it does not fit, and then ends in an ellipsis; its weights' hash is
whole. Options have at most `OPTION_DECIMALS` decimals, which the bot sees to before it asks for a
text; it asks for no stop strings, so there is no room for any.
"""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final

from pydantic import ValidationError

from wire.details import Details
from wire.jobs import FinishReason
from wire.provenance import Mark

PREFIX = "details:"
MAX_ID_CHARS = 100
"""Discord's limit."""
OPTION_DECIMALS = 4

_SCALE: int = 10**OPTION_DECIMALS
_FORM = 1
"""Counts up with every change of what is packed."""
_NUMBERS = struct.Struct("<BB8s3BQ7H3s3s3s4s")
"""Form, choices, weights, version, seed; length, temperature, top-k, top-p, repetition penalty,
tokens of prompt and text; times in line, to the first token and in all; key."""
_PACKED_CHARS: Final = _NUMBERS.size * 4 // 3
assert _NUMBERS.size % 3 == 0, "base64 would be padded"
_LONGEST_MS, _NO_TIME = 2**24 - 2, 2**24 - 1
_NO_VERSION = (0, 0, 0)
_UNKNOWN_VERSION = "unknown"
"""Shown for one that is not three numbers."""
_DEVICES = ("cpu", "cuda")
_PRECISIONS = ("float32", "bfloat16", "float16")
_MARKS = tuple(Mark)
_REASONS = tuple(FinishReason)


class UnreadableError(ValueError):
    """It holds no details, or those of another version of the bot."""


def pack_details(details: Details) -> str:
    """Pack details into a button's `custom_id`."""
    made, params, usage = details.provenance, details.params, details.usage
    choices = (
        _DEVICES.index(made.device)
        | _PRECISIONS.index(made.precision) << 1
        | _MARKS.index(made.mark) << 3
        | _REASONS.index(details.finish_reason) << 5
    )
    numbers = _NUMBERS.pack(
        *(_FORM, choices, bytes.fromhex(made.weights), *_pack_version(made.version), details.seed),
        *(params.max_tokens, _scaled(params.temperature), params.top_k, _scaled(params.top_p)),
        _scaled(params.repetition_penalty),
        *(usage.prompt_tokens, usage.completion_tokens),
        *(_pack_ms(ms) for ms in (usage.queue_ms, usage.first_token_ms, usage.total_ms)),
        bytes.fromhex(made.key or ""),
    )
    packed = PREFIX + urlsafe_b64encode(numbers).decode()
    room = MAX_ID_CHARS - len(packed)
    fits = len(details.model) <= room
    return packed + (details.model if fits else f"{details.model[: room - 1]}…")


def unpack_details(custom_id: str) -> Details:
    """Read what `pack_details` made.

    Raises:
        UnreadableError: It is something else.
    """
    packed = custom_id.removeprefix(PREFIX)
    try:
        numbers = _NUMBERS.unpack(urlsafe_b64decode(packed[:_PACKED_CHARS]))
        return _read(numbers, packed[_PACKED_CHARS:])
    except (ValueError, IndexError, struct.error, ValidationError) as error:
        msg = "a button holds no details that this version of the bot can read"
        raise UnreadableError(msg) from error


def _read(numbers: tuple[Any, ...], model: str) -> Details:
    form, choices, weights, major, minor, patch, seed, *numbers_left = numbers
    length, temperature, top_k, top_p, penalty, *tokens_times_key = numbers_left
    prompt_tokens, completion_tokens, queue_ms, first_token_ms, total_ms, key = tokens_times_key
    if form != _FORM:
        msg = f"form {form}"
        raise ValueError(msg)
    mark = _MARKS[choices >> 3 & 3]
    provenance = {
        "weights": weights.hex(),
        "version": _read_version((major, minor, patch)),
        "device": _DEVICES[choices & 1],
        "precision": _PRECISIONS[choices >> 1 & 3],
        "mark": mark,
        "key": key.hex() if mark is Mark.MARKED else None,
    }
    params = {
        "max_tokens": length,
        "temperature": temperature / _SCALE,
        "top_k": top_k,
        "top_p": top_p / _SCALE,
        "repetition_penalty": penalty / _SCALE,
        "seed": seed,
    }
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "queue_ms": _read_ms(queue_ms),
        "first_token_ms": _read_ms(first_token_ms),
        "total_ms": _read_ms(total_ms),
    }
    return Details.model_validate(
        {
            "model": model,
            "provenance": provenance,
            "params": params,
            "finish_reason": _REASONS[choices >> 5 & 3],
            "usage": usage,
        }
    )


def _scaled(option: float) -> int:
    return round(option * _SCALE)


def _pack_ms(time_ms: int | None) -> bytes:
    return (_NO_TIME if time_ms is None else min(time_ms, _LONGEST_MS)).to_bytes(3, "little")


def _read_ms(packed: bytes) -> int | None:
    time_ms = int.from_bytes(packed, "little")
    return None if time_ms == _NO_TIME else time_ms


def _pack_version(version: str) -> tuple[int, int, int]:
    try:
        major, minor, patch = (min(255, int(number)) for number in version.split("."))
    except ValueError:
        return _NO_VERSION
    return major, minor, patch


def _read_version(packed: tuple[int, int, int]) -> str:
    return _UNKNOWN_VERSION if packed == _NO_VERSION else ".".join(map(str, packed))
