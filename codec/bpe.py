"""Owns the Tokenizer: GPT-2's byte-level BPE, text to ids and back. Knows no model.

Text is cut into blocks, blocks into words, words into parts and pieces, always where no token can
reach over the cut; what is common is remembered, and only what is new is merged.
Source: openai/gpt-2:src/encoder.py for what a text's ids are.
"""

import functools
import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Self

from codec.joints import part_pattern
from codec.memo import Memo
from codec.merging import Merger
from codec.pieces import MASK, PIECE, blocks, words
from codec.vocabulary import END_OF_TEXT, Vocabulary, find_vocabulary, read_vocabulary

WORDS_BYTES = 128 * 2**20
"""Bound of the memory of words: 10 MB of English take a quarter, of many scripts a half."""
PARTS_BYTES = 16 * 2**20
"""Bound of the memory of what words consist of."""


class Tokenizer:
    """Text to GPT-2 token ids and back, for any GPT-2-style vocabulary.

    Threads may share it. Pickled, it takes its vocabulary along and not what it remembers, which
    is at most `WORDS_BYTES + PARTS_BYTES`, whatever is encoded.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._merger = Merger(vocabulary)
        self._words = Memo(self._encode_word, max_bytes=WORDS_BYTES)
        self._parts = Memo(self._encode_part, max_bytes=PARTS_BYTES)

    def __reduce__(self) -> tuple[type[Self], tuple[Vocabulary]]:
        return type(self), (self._vocabulary,)

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
            if MASK in text:
                text.encode()
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
        ids = list(ids)
        try:
            if ids and min(ids) < 0:
                raise IndexError
            return b"".join([token_bytes[token_id] for token_id in ids])
        except IndexError:
            bad = next(token_id for token_id in ids if not 0 <= token_id < len(token_bytes))
            msg = f"token id {bad} is outside the vocabulary 0…{len(token_bytes) - 1}"
            raise ValueError(msg) from None

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of the ids; bytes that are no UTF-8 become U+FFFD.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def _encode_ordinary(self, text: str) -> list[int]:
        ids: list[int] = []
        for block in blocks(text):
            start, *following = words(block)
            ids.extend(self._encode_parts(start))
            ids.extend(chain.from_iterable(map(self._words.__getitem__, following)))
        return ids

    def _encode_word(self, word: str) -> Iterable[int]:
        return self._encode_parts(f" {word}")

    def _encode_parts(self, text: str) -> Iterable[int]:
        # ASCII is full of joints, so there only pieces are worth looking for.
        cut = PIECE if text.isascii() else self._cut
        parts = cut.findall(text.replace(MASK, " "))
        return chain.from_iterable(map(self._parts.__getitem__, parts))

    def _encode_part(self, part: str) -> Iterable[int]:
        pieces = PIECE.findall(part)
        if len(pieces) > 1:
            return chain.from_iterable(map(self._parts.__getitem__, pieces))
        return self._merger.merge(part.encode())

    @functools.cached_property
    def _cut(self) -> re.Pattern[str]:
        # Made when first needed: English may do without.
        tokens = self._vocabulary.token_bytes
        return part_pattern(token for token_id, token in enumerate(tokens) if token_id != self.eot)
