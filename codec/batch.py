"""Owns encoding in a process of its own: texts in, arrays of ids out. Knows no pool of them.

It imports nothing but the codec, so such a process is small and starts at once.
"""

import multiprocessing
import os
import signal
import threading
from array import array

from codec.bpe import Tokenizer

ID_TYPE = "i"
"""Of an `array`: a C int, which has 4 bytes wherever CPython runs."""

_tokenizer: Tokenizer


def start(tokenizer: Tokenizer) -> None:
    """Make this process ready: keep the tokenizer, leave Ctrl-C to the parent, end with it."""
    global _tokenizer  # noqa: PLW0603 - a process of a pool has no other place to keep anything.
    _tokenizer = tokenizer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def encode_batch(texts: list[str]) -> list[bytes]:
    """Return the ids of each text, as the bytes of an array of `ID_TYPE`.

    Raises:
        ValueError: a text holds a lone surrogate.
    """
    return [array(ID_TYPE, _tokenizer.encode(text)).tobytes() for text in texts]


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    # A process of a pool waits for work for ever, also when nobody is left to send any.
    os._exit(1)
