"""Owns what `sample` and `chat` share: the options of sampling, and samples as they are written.

Knows the engine, but neither files nor a terminal.
"""

import secrets
import time
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, Field

from engine.commands.marking import MarkingCommand
from engine.commands.prompts import Keep
from engine.config import ModelConfig
from engine.label import label
from engine.llm_engine import LLMEngine
from engine.loading import find_model, load_engine, pick_device
from engine.sequence import Sequence
from wire.details import Details
from wire.jobs import (
    MAX_TOKENS_LIMIT,
    FinishReason,
    RepetitionPenalty,
    SamplingParams,
    Seed,
    StopStrings,
    Temperature,
    TopK,
    TopP,
    Usage,
)
from wire.provenance import Provenance

PREFILL_TOKENS = 512


def _left_out(value: Any) -> Any:
    """Read the PyTorch port's `-1` and OpenAI's `0` as what they mean: not given."""
    return None if str(value) in ("-1", "0") else value


class Decoding(BaseModel, use_attribute_docstrings=True):
    """How tokens are drawn, and how many."""

    length: Annotated[
        Annotated[int, Field(ge=1, le=MAX_TOKENS_LIMIT)] | None, BeforeValidator(_left_out)
    ] = None
    """Tokens in a sample, at most; left out: half of the model's context behind a prompt, all of it
    without one."""
    temperature: Temperature = 1.0
    """Lower is more predictable; 0 is greedy: always the likeliest token."""
    top_k: TopK = 40
    """Draw among the k likeliest tokens only; 0: among all."""
    top_p: TopP = 1.0
    """Draw among the likeliest tokens that together reach this probability."""
    repetition_penalty: RepetitionPenalty = 1.0
    """Above 1, tokens that were there already become less likely."""
    seed: Seed | None = None
    """The same seed writes the same text again, while the watermark's key is the same; left out: a
    new one each time."""
    stop: StopStrings = ()
    """Text at which a sample ends; may be given up to four times."""

    def params(self, seed: int, max_tokens: int) -> SamplingParams:
        """Return these settings as the engine takes them."""
        return SamplingParams(
            max_tokens=max_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            repetition_penalty=self.repetition_penalty,
            seed=seed,
            stop=self.stop,
        )


class SamplingCommand(Decoding, MarkingCommand):
    """A command that writes samples."""

    nsamples: Annotated[int, Field(ge=1, le=1024)] = 1
    """How many samples; their seeds count up from the first."""
    batch_size: Annotated[
        Annotated[int, Field(ge=1, le=1024)] | None, BeforeValidator(_left_out)
    ] = None
    """Samples written at once: more is faster and takes more memory, and changes no sample; left
    out: 8, or as many as there are."""

    @property
    def num_at_once(self) -> int:
        """Return how many samples are written side by side."""
        most = self.batch_size or 8
        # A place that no sample takes would cost memory all the same.
        return min(most, self.nsamples or most)


def draw_seed() -> int:
    """Return a seed that nobody chose."""
    return secrets.randbelow(2**53)


@dataclass(eq=False)
class Written:
    """One sample, as far as it is written.

    Attributes:
        number: counts from 1.
        prompt: what it continues.
        params: with which it is drawn, seed included.
        sequence: as which the engine runs it.
        raw: all that the model wrote.
        text: what of it counts.
        finish_reason: None while it is being written.
        first_token_s: from `began_s` on; None before there is one.
        total_s: from `began_s` on; set at the end.
    """

    number: int
    prompt: str
    params: SamplingParams
    sequence: Sequence
    began_s: float = field(default_factory=time.monotonic)
    raw: str = ""
    text: str = ""
    finish_reason: FinishReason | None = None
    first_token_s: float | None = None
    total_s: float | None = None


class Writer:
    """A model that writes samples.

    Args:
        engine: with at least `num_at_once` slots.
        model_name: what people are told.
        n_ctx: the model's context in tokens.
        num_at_once: samples written side by side.
    """

    def __init__(self, engine: LLMEngine, model_name: str, *, n_ctx: int, num_at_once: int) -> None:
        self._engine = engine
        self._num_at_once = num_at_once
        self.model_name = model_name
        self.n_ctx = n_ctx

    @classmethod
    def load(cls, settings: SamplingCommand) -> Self:
        """Load the model that is asked for.

        Raises:
            EngineError: it cannot be run.
            VocabularyError: its vocabulary is damaged.
        """
        folder = find_model(settings.model, settings.models)
        engine, model_name = load_engine(
            folder,
            pick_device(settings.device),
            num_slots=settings.num_at_once,
            prefill_tokens=PREFILL_TOKENS,
            max_waiting=settings.num_at_once,
            watermark=settings.marking_key(),
        )
        n_ctx = ModelConfig.from_folder(folder).n_ctx
        return cls(engine, model_name, n_ctx=n_ctx, num_at_once=settings.num_at_once)

    @property
    def label(self) -> str:
        """Return what says who wrote a text; it heads everything that leaves this program."""
        return label(self.model_name)

    def provenance(self, params: SamplingParams) -> Provenance:
        """Return what is to be said of a sample with these parameters."""
        assert self._engine.maker is not None
        return self._engine.maker.provenance(params)

    def details(self, sample: Written) -> Details:
        """Return how a finished sample was made."""
        assert sample.finish_reason is not None
        assert sample.total_s is not None
        first_s = sample.first_token_s
        return Details(
            model=self.model_name,
            provenance=self.provenance(sample.params),
            params=sample.params,
            finish_reason=sample.finish_reason,
            usage=Usage(
                prompt_tokens=sample.sequence.num_prompt_tokens,
                completion_tokens=sample.sequence.num_completion_tokens,
                queue_ms=0,
                first_token_ms=None if first_s is None else round(1000 * first_s),
                total_ms=round(1000 * sample.total_s),
            ),
        )

    def num_tokens(self, text: str) -> int:
        """Return how long a text is."""
        return len(self._engine.tokenizer.encode(text))

    def room(self, length: int | None) -> int:
        """Return how many tokens a prompt may have for a sample of that length."""
        return self.n_ctx - (self.n_ctx // 2 if length is None else length)

    def write(
        self, prompt: str, decoding: Decoding, *, nsamples: int = 1, keep: Keep | None = None
    ) -> Generator[tuple[Written, str], None, None]:
        """Write samples side by side, and yield their text one sample after the other.

        There is a piece for each step, even an empty one; the first comes before anything is
        computed, and a sample's last one when its `finish_reason` is set. Leaving early frees the
        engine for other samples.

        Args:
            prompt: empty: unconditional samples.
            decoding: a missing seed is drawn here.
            nsamples: how many; 0: without end.
            keep: what of a text counts; it may only ever cut off an end.

        Raises:
            InvalidRequestError: the prompt cannot be read, or is too long.
        """
        first_seed = draw_seed() if decoding.seed is None else decoding.seed
        max_tokens = self._max_tokens(prompt, decoding.length)

        def begin(number: int) -> Written:
            params = decoding.params((first_seed + number - 1) % 2**63, max_tokens)
            return Written(number, prompt, params, self._engine.add(prompt, params))

        numbers = range(1, nsamples + 1) if nsamples else count(1)
        run = _Run(self._engine, map(begin, numbers), self._num_at_once, keep)
        try:
            yield from run.pieces()
        finally:
            run.leave()

    def _max_tokens(self, prompt: str, length: int | None) -> int:
        if length is not None:
            return length
        most = self.n_ctx - len(self._engine.encode(prompt, 1))
        return min(self.n_ctx // 2 if prompt else most, most, MAX_TOKENS_LIMIT)


class _Run:
    """Samples side by side: as many run as may, and the first unfinished one is shown."""

    def __init__(
        self, engine: LLMEngine, samples: Iterator[Written], num_at_once: int, keep: Keep | None
    ) -> None:
        self._engine = engine
        self._samples = samples
        self._num_at_once = num_at_once
        self._keep = keep
        self._unshown: deque[Written] = deque()
        self._running: dict[Sequence, Written] = {}

    def pieces(self) -> Iterator[tuple[Written, str]]:
        """Yield as `Writer.write` does."""
        self._fill()
        while self._unshown:
            sample = self._unshown.popleft()
            num_shown = 0
            while sample.finish_reason is None:
                yield sample, sample.text[num_shown:]
                num_shown = len(sample.text)
                self._step()
                self._fill()
            yield sample, sample.text[num_shown:]

    def leave(self) -> None:
        """Give up what is not finished."""
        for sequence in self._running:
            self._engine.abort(sequence)
        self._running.clear()

    def _fill(self) -> None:
        while len(self._running) < self._num_at_once:
            sample = next(self._samples, None)
            if sample is None:
                return
            self._running[sample.sequence] = sample
            self._unshown.append(sample)

    def _step(self) -> None:
        for output in self._engine.step():
            sample = self._running[output.sequence]
            reason = output.finish_reason
            since_s = time.monotonic() - sample.began_s
            if sample.first_token_s is None:
                sample.first_token_s = since_s
            sample.raw += output.text
            sample.text = sample.raw
            if self._keep is not None:
                sample.text, enough = self._keep(sample.raw)
                if enough and reason is None:
                    self._engine.abort(output.sequence)
                    reason = FinishReason.STOP
            if reason is not None:
                sample.total_s, sample.finish_reason = since_s, reason
                del self._running[output.sequence]
