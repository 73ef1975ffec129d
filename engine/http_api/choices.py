"""Owns one choice of a completion: what the engine is asked, and the pieces that its events make.

Knows no HTTP: a piece goes to whoever takes it, whether they send it at once or collect it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from codec.bpe import Tokenizer
from engine.async_engine import AsyncEngine, ScoredDelta
from engine.errors import EngineStoppedError
from engine.http_api.bodies import CompletionRequest
from engine.http_api.errors import from_failed, stopping
from engine.http_api.logprobs import LogprobLedger
from engine.sequence import Scoring
from wire.jobs import Delta, Done, Failed, FinishReason, SamplingParams


@dataclass(frozen=True, slots=True)
class Choice:
    """One sample of one prompt.

    Attributes:
        index: its place in the answer: all samples of the first prompt come first.
        sample: its place among the samples of its prompt.
        prompt_ids: empty for an unconditional sample.
        params: how it is written.
        scoring: None if no logprobs are wanted.
        echo: whether the prompt is part of the text.
    """

    index: int
    sample: int
    prompt_ids: list[int]
    params: SamplingParams
    scoring: Scoring | None
    echo: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a choice; `done` stands in the last one."""

    index: int
    text: str
    logprobs: dict[str, Any] | None
    done: Done | None = None

    def json(self) -> dict[str, Any]:
        """Return it as OpenAI's clients read it; seed and provenance are ours."""
        choice = {
            "index": self.index,
            "text": self.text,
            "logprobs": self.logprobs,
            "finish_reason": self.done.finish_reason if self.done else None,
        }
        if self.done is None:
            return choice
        made = self.done.provenance
        provenance = made.model_dump(mode="json") if made else None
        return choice | {"seed": self.done.seed, "provenance": provenance}


def make_choices(engine: AsyncEngine, wanted: CompletionRequest) -> list[Choice]:
    """Encode the prompts and lay out the choices. A long prompt takes its time: not for a loop.

    Raises:
        InvalidRequestError: a prompt cannot be read.
        PromptTooLongError: a prompt and its reply exceed the context.
    """
    scoring = None
    if wanted.logprobs is not None:
        scoring = Scoring(num_top=wanted.logprobs, prompt=wanted.echo)
    choices: list[Choice] = []
    for prompt in wanted.prompt:
        ids = engine.encode(prompt, wanted.max_tokens) if prompt else []
        for sample in range(wanted.n):
            params = wanted.params(sample)
            choices.append(Choice(len(choices), sample, ids, params, scoring, wanted.echo))
    return choices


async def write_choice(
    engine: AsyncEngine,
    choice: Choice,
    take: Callable[[Piece], Awaitable[None]],
    closing: asyncio.Event,
) -> None:
    """Have a choice written, and give away its pieces as they come.

    Args:
        engine: that writes.
        choice: what to write.
        take: gets every piece; the last has `done`.
        closing: when set, the reply is cut off.

    Raises:
        ApiError: the engine failed it, or it was cut off.
        EngineStoppedError: the engine has died.
    """
    pieces = _Pieces(engine.tokenizer, choice)
    events = engine.generate(
        choice.prompt_ids, choice.params, cancelled=closing, scoring=choice.scoring
    )
    async with contextlib.aclosing(events):
        async for event in events:
            match event:
                case Delta():
                    piece = pieces.add(event)
                    if piece is not None:
                        await take(piece)
                case Done(finish_reason=FinishReason.CANCELLED):
                    raise stopping()
                case Done():
                    return await take(pieces.last(event))
                case Failed():
                    raise from_failed(event)
    msg = "The engine has stopped."
    raise EngineStoppedError(msg)


class _Pieces:
    """Turns an engine's events into a choice's pieces."""

    def __init__(self, tokenizer: Tokenizer, choice: Choice) -> None:
        self._index = choice.index
        # An echoed prompt waits here until its scores are there too.
        self._held = tokenizer.decode(choice.prompt_ids) if choice.echo else ""
        self._ledger: LogprobLedger | None = None
        if choice.scoring is not None:
            self._ledger = LogprobLedger(tokenizer, choice.prompt_ids, echo=choice.echo)

    def add(self, event: Delta) -> Piece | None:
        self._held += event.text
        if self._ledger is not None and isinstance(event, ScoredDelta):
            self._ledger.add(event.scores)
        if not self._held or (self._ledger is not None and not self._ledger.knows_prompt):
            return None
        return self._piece(None)

    def last(self, done: Done) -> Piece:
        return self._piece(done)

    def _piece(self, done: Done | None) -> Piece:
        text, self._held = self._held, ""
        logprobs = self._ledger.tell(text) if self._ledger is not None else None
        return Piece(self._index, text, logprobs, done)
