"""Owns the Tokenizer: GPT-2's byte-level BPE, text to ids and back. Knows no model.

Source: Sennrich et al. 2016 for BPE, openai/gpt-2:src/encoder.py for the pattern and the files.
"""

import heapq
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Self

import regex

from codec.vocabulary import END_OF_TEXT, Vocabulary, find_vocabulary, read_vocabulary

PIECE = regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
CACHE_PIECES = 65_536
"""Pieces remembered; text repeats itself, so most pieces are looked up and not merged."""
CACHE_PIECE_CHARS = 64
"""Longer pieces are rare and would only fill the cache."""
HEAP_FROM_BYTES = 48
"""Below, scanning all pairs for the best merge is quicker than keeping a heap."""


class Tokenizer:
    """Text to GPT-2 token ids and back, for any GPT-2-style vocabulary.

    Safe to share between threads: the cache only ever gains equal entries.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._cache: dict[str, list[int]] = {}

    @classmethod
    def from_files(cls, encoder_path: Path, merges_path: Path) -> Self:
        """Read `encoder.json` and `vocab.bpe`.

        Raises:
            VocabularyError: a file is missing or damaged, or the two do not agree.
        """
        return cls(read_vocabulary(encoder_path, merges_path))

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read the vocabulary of a model folder, under OpenAI's or Hugging Face's file names.

        Raises:
            VocabularyError: as `from_files`.
        """
        return cls.from_files(*find_vocabulary(folder))

    @property
    def n_vocab(self) -> int:
        """Return one more than the highest id."""
        return len(self._vocabulary.token_bytes)

    @property
    def eot(self) -> int:
        """Return the id of `<|endoftext|>`."""
        return self._vocabulary.eot

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        """Encode text.

        Args:
            text: any text without lone surrogates.
            allow_special: read `<|endoftext|>` as the special token. Otherwise it is text like
                any other, and the result never holds `eot`.

        Raises:
            ValueError: the text holds a lone surrogate, which no UTF-8 can write.
        """
        first, *rest = text.split(END_OF_TEXT) if allow_special else [text]
        try:
            ids = self._encode_ordinary(first)
            for part in rest:
                ids.append(self.eot)
                ids += self._encode_ordinary(part)
            return ids
        except UnicodeEncodeError:
            place = next(i for i, char in enumerate(text) if "\ud800" <= char <= "\udfff")
            msg = f"character {place} of the text is a lone surrogate (U+{ord(text[place]):04X})"
            raise ValueError(msg) from None

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Return the exact bytes that the ids stand for.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        token_bytes = self._vocabulary.token_bytes
        parts = []
        for token_id in ids:
            if not 0 <= token_id < len(token_bytes):
                msg = f"token id {token_id} is outside the vocabulary 0…{len(token_bytes) - 1}"
                raise ValueError(msg)
            parts.append(token_bytes[token_id])
        return b"".join(parts)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of the ids; bytes that are no UTF-8 become U+FFFD.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def _encode_ordinary(self, text: str) -> list[int]:
        ids: list[int] = []
        cache = self._cache
        for piece in PIECE.findall(text):
            known = cache.get(piece)
            if known is None:
                known = self._merge(piece.encode())
                if len(piece) <= CACHE_PIECE_CHARS:
                    if len(cache) >= CACHE_PIECES:
                        cache.clear()
                    cache[piece] = known
            ids += known
        return ids

    def _merge(self, piece: bytes) -> list[int]:
        byte_ids = self._vocabulary.byte_ids
        ids = [byte_ids[byte] for byte in piece]
        if len(ids) < HEAP_FROM_BYTES:
            return _merge_short(ids, self._vocabulary.merges)
        return _merge_long(ids, self._vocabulary.merges)


def _merge_short(ids: list[int], merges: dict[tuple[int, int], tuple[int, int]]) -> list[int]:
    while len(ids) > 1:
        best = min(
            (merges[pair] + (place,) for place, pair in enumerate(pairwise(ids)) if pair in merges),
            default=None,
        )
        if best is None:
            break
        _, merged, place = best
        ids[place : place + 2] = [merged]
    return ids


def _merge_long(ids: list[int], merges: dict[tuple[int, int], tuple[int, int]]) -> list[int]:
    """Merge in O(n log n): the next merge comes from a heap, and dead ids are linked around.

    The order is that of `_merge_short`: lowest rank first, leftmost first among equals.
    """
    end = len(ids)
    after = list(range(1, end + 1))
    before = list(range(-1, end - 1))
    heap = []
    for place in range(end - 1):
        found = merges.get((ids[place], ids[place + 1]))
        if found is not None:
            heap.append((found[0], place, ids[place], ids[place + 1]))
    heapq.heapify(heap)
    while heap:
        _, place, left, right = heapq.heappop(heap)
        neighbour = after[place]
        # Another merge may have taken either half since this one was pushed.
        if ids[place] != left or neighbour >= end or ids[neighbour] != right:
            continue
        ids[place] = merged = merges[left, right][1]
        ids[neighbour] = -1
        after[place] = following = after[neighbour]
        if following < end:
            before[following] = place
            found = merges.get((merged, ids[following]))
            if found is not None:
                heapq.heappush(heap, (found[0], place, merged, ids[following]))
        previous = before[place]
        if previous >= 0:
            found = merges.get((ids[previous], merged))
            if found is not None:
                heapq.heappush(heap, (found[0], previous, ids[previous], merged))
    return [token_id for token_id in ids if token_id >= 0]
