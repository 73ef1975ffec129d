"""Owns how ids become the text that is shown: whole characters, and nothing of a stop string."""

from codec.bpe import Tokenizer
from codec.incremental import IncrementalDecoder


class Detokenizer:
    """Turn one sequence's ids into text as they come.

    Text that might be the beginning of a stop string is held back until it is known not to be;
    a stop string itself, and whatever stands behind it, never comes out.
    """

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...]) -> None:
        self._decoder = IncrementalDecoder(tokenizer)
        self._stop = stop
        self._held = ""
        self._stopped = False

    def push(self, token_id: int) -> tuple[str, bool]:
        """Take one id.

        Returns:
            The text that is certain now, and whether a stop string was met.
        """
        return self._take(self._decoder.push(token_id))

    def flush(self) -> str:
        """Return what was held back, at the end of the sequence; empty behind a stop string."""
        if self._stopped:
            return ""
        text, stopped = self._take(self._decoder.flush())
        return text if stopped else text + self._held

    def _take(self, new: str) -> tuple[str, bool]:
        self._held += new
        # The first to be complete, so that it does not matter how the text is cut into tokens.
        met = [
            (place + len(stop), place)
            for stop in self._stop
            if (place := self._held.find(stop)) >= 0
        ]
        if met:
            _, place = min(met)
            text, self._held = self._held[:place], ""
            self._stopped = True
            return text, True
        keep = max((_overlap(self._held, stop) for stop in self._stop), default=0)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text, False


def _overlap(text: str, stop: str) -> int:
    r"""Return how many characters at the end of `text` could begin `stop`.

    >>> _overlap("one \n\n", "\n\nUser:")
    2
    """
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
