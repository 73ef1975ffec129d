"""Owns the tasks over running text: WikiText-2, WikiText-103, PTB, enwik8, text8."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from engine.evaluate.task import (
    InvalidDataError,
    Metric,
    Prepared,
    Request,
    Scores,
    Setting,
    decode,
    perplexity,
    read_bytes,
    read_text,
)
from engine.evaluate.windows import windows

LARGE_TEXT_BYTES = 100_000_000
LARGE_TEXT_TEST_BYTES = 5_000_000
"""enwik8 and text8 are 10^8 bytes, and by convention the last 5 million are the test set."""
MAX_CHARACTER_BYTES = 4


@dataclass(frozen=True, slots=True)
class Units:
    """By how much the loss of a text is divided."""

    words: int
    """Tokens of the original file: what spaces separate, and one for the end of each line."""
    chars: int
    original_bytes: int


def prepare_words(detokenize: Callable[[str], str], path: Path, setting: Setting) -> Prepared:
    """Prepare a text that comes in words: a detokenizer for its lines, perplexity per word.

    Raises:
        InvalidDataError: there is no word in the lines, or a byte is no text.
    """
    lines = read_text(path).removesuffix("\n").split("\n")[: setting.limit]
    words = sum(len(line.split()) for line in lines)
    if not words:
        raise InvalidDataError(path, 1, f"the first {len(lines)} lines hold no word")
    original = "\n".join(lines) + "\n"
    units = Units(words + len(lines), len(original), len(original.encode()))
    text = "".join(detokenize(line) + "\n" for line in lines)
    protocol = {
        "normalisation": "loss divided by the words of the original file, the end of each line "
        "counted as one",
        "detokenizer": detokenize.__name__,
    }
    return _prepare(text, units, _word_metrics, {"lines": len(lines)}, protocol, setting)


def prepare_characters(path: Path, setting: Setting) -> Prepared:
    """Prepare a text that comes as it is: bits per byte and per character.

    Of a file of exactly 10^8 bytes, which is all of enwik8 or text8, the last 5 million are read;
    at most three bytes at either end, which belong to a character that was cut, are left out.

    Raises:
        InvalidDataError: a byte is no text.
    """
    data = read_bytes(path)
    cut = len(data) == LARGE_TEXT_BYTES
    start = LARGE_TEXT_BYTES - LARGE_TEXT_TEST_BYTES if cut else 0
    end = len(data) if setting.limit is None else start + setting.limit
    start, end = _whole_characters(data, start, min(end, len(data)))
    text = decode(path, data[:end], start)
    if not text:
        raise InvalidDataError(path, 1, f"the first {setting.limit} bytes hold no character")
    units = Units(len(text.split()), len(text), end - start)
    protocol = {
        "normalisation": "loss in bits divided by the bytes of the file as it is",
        "detokenizer": "none",
        "part": "the last 5000000 of 100000000 bytes" if cut else "from the beginning",
    }
    return _prepare(text, units, _character_metrics, {}, protocol, setting)


def _whole_characters(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Move the ends of a stretch of UTF-8 inwards, out of the characters that they cut.

    >>> _whole_characters("äöü".encode(), 1, 5)
    (2, 4)
    """
    for _ in range(MAX_CHARACTER_BYTES - 1):
        if start < end and data[start] & 0xC0 == 0x80:
            start += 1
    for back in range(1, min(MAX_CHARACTER_BYTES, end - start) + 1):
        lead = data[end - back]
        if lead & 0xC0 == 0x80:
            continue
        length = 1 + (lead >= 0xC0) + (lead >= 0xE0) + (lead >= 0xF0)
        return start, end - back if length > back else end
    return start, end


def _word_metrics(units: Units, num_tokens: int, scores: Sequence[Scores]) -> list[Metric]:
    nats = -sum(score.total for score in scores)
    return [
        Metric("perplexity", perplexity(nats, units.words), "per word of the original file"),
        Metric("perplexity_token", perplexity(nats, num_tokens), "per token of this model"),
        _bits("bits_per_byte", nats, units.original_bytes, "byte of the original file"),
    ]


def _character_metrics(units: Units, num_tokens: int, scores: Sequence[Scores]) -> list[Metric]:
    nats = -sum(score.total for score in scores)
    return [
        _bits("bits_per_byte", nats, units.original_bytes, "byte"),
        _bits("bits_per_character", nats, units.chars, "character"),
        Metric("perplexity_token", perplexity(nats, num_tokens), "per token of this model"),
    ]


def _bits(name: str, nats: float, count: int, unit: str) -> Metric:
    return Metric(name, nats / math.log(2) / count, f"bits per {unit}")


def _prepare(
    text: str,
    units: Units,
    measure: Callable[[Units, int, Sequence[Scores]], list[Metric]],
    counts: dict[str, int],
    protocol: dict[str, str],
    setting: Setting,
) -> Prepared:
    ids = setting.tokenizer.encode(text)
    stream = torch.tensor([setting.tokenizer.eot, *ids])
    requests = [
        Request(stream[window.start : window.end], window.first - window.start)
        for window in windows(len(ids), setting.n_ctx, setting.stride)
    ]
    return Prepared(
        requests,
        partial(measure, units, len(ids)),
        counts
        | {
            "tokens": len(ids),
            "words": units.words,
            "characters": units.chars,
            "bytes": units.original_bytes,
            "windows": len(requests),
        },
        {
            **protocol,
            "context": setting.n_ctx,
            "stride": setting.stride,
            "begins_with": "<|endoftext|>, not scored",
        },
    )
