"""Owns what every task is made of: setting, requests, metrics. Knows no model and no device.

A task is two pure functions: from a file's text to requests, and from their scores to metrics. What
lies between, running a model over the requests, is the same for all (`engine.evaluate.scoring`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from codec.bpe import Tokenizer
from engine.errors import InvalidRequestError


class InvalidDataError(InvalidRequestError):
    """A data file is not what its task expects; the text names the file and the line."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        super().__init__(f"{path}, line {line}: {problem}")


@dataclass(frozen=True, slots=True)
class Request:
    """A sequence of tokens, of which the last ones are to be scored."""

    ids: Tensor
    """`(n + 1,)` int64 on the CPU; the model sees the first n, and n is at most its context."""
    first: int
    """Index of the first token that is scored, at least 1; all behind it are scored too."""

    def __post_init__(self) -> None:
        assert 1 <= self.first < len(self.ids)

    @property
    def num_scored(self) -> int:
        """Return how many tokens are scored."""
        return len(self.ids) - self.first


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model says of a request's scored tokens, one entry for each."""

    log_probs: Tensor
    """`(num_scored,)` float64: natural logarithm of the probability given all tokens before."""
    is_best: Tensor
    """`(num_scored,)` bool: whether no token is more likely."""
    is_best_allowed: Tensor
    """`(num_scored,)` bool: whether it is allowed, and no other allowed token is more likely."""

    @property
    def total(self) -> float:
        """Return the logarithm of the probability of all scored tokens together."""
        return float(self.log_probs.sum())


@dataclass(frozen=True, slots=True)
class Setting:
    """What a task needs to know of the model and of what was asked for."""

    tokenizer: Tokenizer
    n_ctx: int
    stride: int
    limit: int | None = None
    """Items that are looked at, at most; None: all."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured number."""

    name: str
    value: float
    says: str
    """What is counted and by what it is divided."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A task with its data: what to ask of a model, and what to make of the answers."""

    requests: Sequence[Request]
    measure: Callable[[Sequence[Scores]], list[Metric]]
    counts: Mapping[str, int]
    protocol: Mapping[str, str | int]
    disallowed: Sequence[int] = field(default=())
    """Tokens that `Scores.is_best_allowed` passes over."""


def read_text(path: Path) -> str:
    """Read a UTF-8 file, line ends as they are.

    Raises:
        InvalidDataError: a byte in it belongs to no character, or there is nothing in it.
        InvalidRequestError: it is missing or a folder.
    """
    return decode(path, read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        InvalidDataError: there is nothing in it.
        InvalidRequestError: it is missing or a folder.
    """
    if not path.is_file():
        msg = f"data must be a file, and {path} is {'a folder' if path.is_dir() else 'not there'}"
        raise InvalidRequestError(msg)
    data = path.read_bytes()
    if not data.strip():
        raise InvalidDataError(path, 1, "the file is empty")
    return data


def decode(path: Path, data: bytes, start: int = 0) -> str:
    """Decode what was read from a file, from a byte on.

    Raises:
        InvalidDataError: a byte belongs to no character.
    """
    try:
        return data[start:].decode("utf-8")
    except UnicodeDecodeError as error:
        at = start + error.start
        line = data.count(b"\n", 0, at) + 1
        problem = f"the byte 0x{data[at]:02x} is not UTF-8 ({error.reason})"
        raise InvalidDataError(path, line, problem) from error


def continuation(context: Sequence[int], scored: Sequence[int], n_ctx: int) -> Request:
    """Ask for the probability of some tokens behind a context, which is cut on the left to fit.

    Args:
        context: at least one token.
        scored: at least one, at most `n_ctx`.
        n_ctx: tokens that the model can see.

    >>> continuation([1, 2, 3, 4], [5, 6], n_ctx=3)
    Request(ids=tensor([3, 4, 5, 6]), first=2)
    """
    kept = context[-(n_ctx + 1 - len(scored)) :]
    return Request(torch.tensor([*kept, *scored]), first=len(kept))


def perplexity(nats: float, count: int) -> float:
    """Return e to the mean loss, infinity where that is too large for a number.

    >>> perplexity(0.0, 3), perplexity(1e6, 1)
    (1.0, inf)
    """
    try:
        return math.exp(nats / count)
    except OverflowError:
        return math.inf


def share(true: Sequence[bool]) -> float:
    """Return how many in a hundred are true.

    >>> share([True, False, False, False])
    25.0
    """
    return 100 * sum(true) / len(true)
