"""Owns the encoding of a corpus on all cores. Knows nothing of what the ids are for.

Long documents are cut where the ids allow it and short ones are sent together, so the processes
have work of equal size whatever the documents are like.
"""

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from itertools import islice
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from codec.batch import encode_batch, start
from codec.bpe import Tokenizer
from codec.pieces import blocks
from engine.errors import EngineError, InvalidRequestError

Ids = NDArray[np.int32]
Batch = list[tuple[int, str]]
"""Parts of texts, each behind its text's place."""

BATCH_CHARS = 2**18
"""What a process gets at once: a tenth of a second of work."""
CHARS_PER_PROCESS = 2**21
"""A process is started for no less: it takes as long to start as it would take to encode this."""
BATCHES_AHEAD = 3
"""Batches sent or waiting for each process, so that none ever waits for its parent."""


def encode_all(
    tokenizer: Tokenizer, texts: Sequence[str], *, processes: int | None = None
) -> list[Ids]:
    """Encode texts, and show progress on a terminal.

    Args:
        tokenizer: whose ids are wanted.
        texts: any number, of any lengths. `<|endoftext|>` in them is text.
        processes: how many share the work, at least 1; 1 is this process itself. Left out: as many
            as there are cores to run on, and fewer for little text.

    Returns:
        The ids of each text in the order of the texts, `(tokens,)` int32 each: a list of ints
        would take some ten times the memory.

    Raises:
        InvalidRequestError: a text holds a lone surrogate.
        EngineError: a process was killed, as happens when memory runs out.
    """
    if processes is None:
        processes = min(_num_cores(), sum(map(len, texts)) // CHARS_PER_PROCESS)
    parts: list[list[Ids]] = [[] for _ in texts]
    try:
        with closing(_encoded(tokenizer, _batches(texts), processes)) as encoded:
            for place, ids in _with_progress(encoded, sum(map(len, texts))):
                parts[place].append(np.frombuffer(ids, dtype=np.int32))
    except ValueError as error:
        raise _refusal(texts, error) from error
    except BrokenProcessPool as error:
        msg = (
            f"one of {processes} encoding processes was killed; if memory ran out, "
            "encode less text at a time"
        )
        raise EngineError(msg) from error
    return [_joined(found) for found in parts]


def _batches(texts: Sequence[str]) -> Iterator[Batch]:
    batch: Batch = []
    num_chars = 0
    for place, text in enumerate(texts):
        for part in blocks(text, BATCH_CHARS):
            batch.append((place, part))
            num_chars += len(part)
            if num_chars >= BATCH_CHARS:
                yield batch
                batch, num_chars = [], 0
    if batch:
        yield batch


def _encoded(
    tokenizer: Tokenizer, batches: Iterator[Batch], processes: int
) -> Generator[tuple[Batch, list[bytes]], None, None]:
    if processes <= 1:
        for batch in batches:
            yield batch, [_id_bytes(tokenizer, part) for _, part in batch]
        return
    # Not fork: a thread of this process may hold a lock, which a forked child would wait for.
    pool = ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=start, initargs=(tokenizer,)
    )
    with pool:
        try:
            yield from _in_order(pool, batches, processes * BATCHES_AHEAD)
        finally:
            # Whatever ended this, also Ctrl-C: what has not begun is not wanted any more.
            pool.shutdown(wait=False, cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor, batches: Iterator[Batch], num_ahead: int
) -> Iterator[tuple[Batch, list[bytes]]]:
    def send(some: Iterable[Batch]) -> None:
        for batch in some:
            texts = [part for _, part in batch]
            waiting.append((batch, pool.submit(encode_batch, texts)))

    waiting: deque[tuple[Batch, Future[list[bytes]]]] = deque()
    send(islice(batches, num_ahead))
    while waiting:
        batch, future = waiting.popleft()
        found = future.result()
        send(islice(batches, 1))
        yield batch, found


def _with_progress(
    encoded: Iterable[tuple[Batch, list[bytes]]], num_chars: int
) -> Iterator[tuple[int, bytes]]:
    with tqdm(
        total=num_chars, desc="encoding", unit="char", unit_scale=True, disable=None
    ) as progress:
        for batch, found in encoded:
            for (place, part), ids in zip(batch, found, strict=True):
                yield place, ids
                progress.update(len(part))


def _refusal(texts: Sequence[str], error: ValueError) -> InvalidRequestError:
    # The error counts from where a part begins, a person from where the text does.
    for number, text in enumerate(texts, start=1):
        try:
            text.encode()
        except UnicodeEncodeError as found:
            code = ord(text[found.start])
            msg = f"text {number}: character {found.start} is a lone surrogate (U+{code:04X})"
            return InvalidRequestError(msg)
    return InvalidRequestError(str(error))


def _id_bytes(tokenizer: Tokenizer, text: str) -> bytes:
    return np.array(tokenizer.encode(text), dtype=np.int32).tobytes()


def _joined(parts: list[Ids]) -> Ids:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
