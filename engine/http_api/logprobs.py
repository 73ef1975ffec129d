"""Owns OpenAI's `logprobs` of one choice: which tokens go with which stretch of its text."""

from dataclasses import dataclass
from typing import Any

from codec.bpe import Tokenizer
from codec.incremental import IncrementalDecoder
from engine.sequence import TokenScore


def token_text(tokenizer: Tokenizer, token_id: int) -> str:
    r"""Return a token as text; bytes that are no whole characters as OpenAI writes them.

    `b" caf"` is `" caf"`, and `b"\xc3"` is `"bytes:\\xc3"`.
    """
    data = tokenizer.decode_bytes((token_id,))
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


@dataclass(frozen=True, slots=True)
class _Token:
    offset_chars: int
    text: str
    logprob: float | None
    top: dict[str, float] | None


class LogprobLedger:
    """Hand out each token's score with the text that it is part of.

    Text comes later than its tokens, or never: it waits for whole characters, and nothing of a
    stop string comes out. A token is told of once its first character has been.

    Args:
        tokenizer: of the model.
        prompt_ids: as the caller gave them; the offsets count from the prompt's beginning.
        echo: whether the prompt is part of the choice, so that its tokens are told of too.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_ids: list[int], *, echo: bool) -> None:
        self._tokenizer = tokenizer
        self._prompt_chars = len(tokenizer.decode(prompt_ids))
        self._decoder = IncrementalDecoder(tokenizer)
        self._offset_chars = 0
        self._shown_chars = 0 if echo else self._prompt_chars
        self._untold: list[_Token] = []
        self._num_prompt_left = len(prompt_ids) if echo else 0
        if self._num_prompt_left:
            # Nothing stands before the first token that could make it likely.
            self._append(prompt_ids[0], None, None)
        else:
            self._offset_chars = self._prompt_chars

    @property
    def knows_prompt(self) -> bool:
        """Return whether the scores of all echoed prompt tokens are there."""
        return self._num_prompt_left == 0

    def add(self, scores: tuple[TokenScore, ...]) -> None:
        """Take the scores of the next tokens."""
        for score in scores:
            named = (*score.top, (score.token_id, score.logprob))
            top = {token_text(self._tokenizer, token_id): value for token_id, value in named}
            self._append(score.token_id, score.logprob, top)

    def tell(self, text: str) -> dict[str, Any]:
        """Return the tokens that begin in the text that is shown now."""
        self._shown_chars += len(text)
        told = [token for token in self._untold if token.offset_chars < self._shown_chars]
        del self._untold[: len(told)]
        return {
            "tokens": [token.text for token in told],
            "token_logprobs": [token.logprob for token in told],
            "top_logprobs": [token.top for token in told],
            "text_offset": [token.offset_chars for token in told],
        }

    def _append(self, token_id: int, logprob: float | None, top: dict[str, float] | None) -> None:
        text = token_text(self._tokenizer, token_id)
        self._untold.append(_Token(self._offset_chars, text, logprob, top))
        self._offset_chars += len(self._decoder.push(token_id))
        if self._num_prompt_left:
            self._num_prompt_left -= 1
            if not self._num_prompt_left:
                # Text that is generated is decoded anew behind the prompt.
                self._decoder = IncrementalDecoder(self._tokenizer)
                self._offset_chars = self._prompt_chars
