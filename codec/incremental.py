"""Owns IncrementalDecoder: ids in, whole characters out. Knows no stop strings."""

import codecs

from codec.bpe import Tokenizer


class IncrementalDecoder:
    """Decode a stream of ids so that the pieces join to what one `decode` would give.

    A character whose bytes are split over tokens is held back until it is whole.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """Take one id and return the characters that are whole now.

        Raises:
            ValueError: the id is outside the vocabulary.
        """
        return self._utf8.decode(self._tokenizer.decode_bytes((token_id,)))

    def flush(self) -> str:
        """Return what is left at the end; bytes that never became a character are U+FFFD."""
        return self._utf8.decode(b"", final=True)
