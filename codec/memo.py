"""Owns a bounded memory of what was computed: text to ids. Knows nothing of how it is computed."""

import sys
import threading
from collections.abc import Callable, Iterable

MAX_KEY_CHARS = 64
"""Longer text is rare, so remembering it would only push out what is common."""
ENTRY_BYTES = 100
"""What an entry needs beside its key and value: its share of a dict that has just grown, and what
the allocator rounds up."""


class Memo(dict[str, tuple[int, ...]]):
    """A function's results, `text -> ids`, computed when first asked for with `memo[text]`.

    It has two generations. What is asked for is in the young one; when that has half of the bytes
    it becomes the old one, whose entries are young again once they are asked for. So what is
    common stays, however much that is asked for only once goes by, and forgetting costs no more
    than remembering did.

    Threads may share it: finding is one step of the interpreter, keeping is behind a lock, and
    what two threads compute at the same time is equal.
    """

    def __init__(self, compute: Callable[[str], Iterable[int]], *, max_bytes: int) -> None:
        """Begin empty.

        Args:
            compute: the function; it must always give the same ids for the same text.
            max_bytes: of keys, values and dicts together, that both generations never pass.
        """
        super().__init__()
        self._compute = compute
        self._generation_bytes = max_bytes // 2
        self._young_bytes = 0
        self._old: dict[str, tuple[int, ...]] = {}
        self._keeping = threading.Lock()

    def __missing__(self, text: str) -> tuple[int, ...]:
        """Find the ids in the old generation, or compute them."""
        ids = self._old.get(text)
        if ids is None:
            ids = tuple(self._compute(text))
        if len(text) <= MAX_KEY_CHARS:
            with self._keeping:
                self._keep(text, ids)
        return ids

    def _keep(self, text: str, ids: tuple[int, ...]) -> None:
        # The ids themselves belong to the vocabulary, so only the places for them count.
        num_bytes = sys.getsizeof(text) + sys.getsizeof(ids) + ENTRY_BYTES
        if self._young_bytes + num_bytes > self._generation_bytes:
            # Dropped before it is replaced, so that there are never three generations.
            self._old = {}
            self._old = self.copy()
            self.clear()
            self._young_bytes = 0
        self[text] = ids
        self._young_bytes += num_bytes
