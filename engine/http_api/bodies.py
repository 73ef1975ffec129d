"""Owns the JSON bodies that callers send: fields, bounds, and what is refused by name."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from engine.http_api.options import MIB
from wire.jobs import (
    HIGHEST_SEED,
    MAX_TOKENS_LIMIT,
    RepetitionPenalty,
    SamplingParams,
    Seed,
    StopStrings,
    Temperature,
    TopK,
    TopP,
)

MAX_LOGPROBS = 20
MAX_SUFFIX_CHARS = 40
UNSUPPORTED = ("frequency_penalty", "presence_penalty", "logit_bias", "suffix")
"""OpenAI's fields that GPT-2 is not served with; only their defaults are taken."""

Prompt = str | tuple[int, ...]
"""Text, or token ids."""
ModelName = Annotated[str, Field(min_length=1, max_length=128)]


class RequestBody(BaseModel):
    """The base: frozen, and closed to unknown fields."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True
    )


def _refuse_unsupported(body: BaseModel, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(body, name):
            msg = f"{name} is not supported: leave it out"
            raise ValueError(msg)


class StreamOptions(RequestBody):
    """How a stream is to be."""

    include_usage: bool = False
    include_obfuscation: bool = False
    """Accepted and not acted upon."""


class CompletionRequest(RequestBody):
    """What `/v1/completions` takes; None is as good as left out."""

    model: ModelName | None = None
    prompt: tuple[Prompt, ...] = ("",)
    """As it is sent: text, texts, ids, or lists of ids; here always a tuple of them."""
    max_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS_LIMIT)] = 16
    temperature: Temperature = 1.0
    top_p: TopP = 1.0
    top_k: TopK = 0
    """Ours: keep the k most likely tokens; 0 keeps all."""
    repetition_penalty: RepetitionPenalty = 1.0
    """Ours, as in `wire.jobs.SamplingParams`."""
    n: Annotated[int, Field(ge=1, le=128)] = 1
    best_of: int | None = None
    stop: StopStrings = ()
    seed: Seed | None = None
    logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    echo: bool = False
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = None
    """Accepted and not acted upon."""
    frequency_penalty: float = 0
    presence_penalty: float = 0
    logit_bias: dict[str, float] = {}
    suffix: str = ""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        # OpenAI's fields are nullable, and null means the default.
        if not isinstance(value, dict):
            return value
        return {name: field for name, field in value.items() if field is not None}

    @field_validator("prompt", mode="plain")
    @classmethod
    def _as_prompts(cls, value: Any) -> tuple[Prompt, ...]:
        prompts = as_prompts(value)
        if not prompts:
            msg = "must be a string, a list of strings, a list of token ids, or lists of token ids"
            raise ValueError(msg)
        return prompts

    @field_validator("stop", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        _refuse_unsupported(self, UNSUPPORTED)
        if self.best_of not in (None, self.n):
            msg = f"best_of must be n, which is {self.n}, or be left out, not {self.best_of}"
        elif self.stream_options is not None and not self.stream:
            msg = "stream_options may only be set when stream is true"
        elif self.max_tokens == 0 and not self.echo:
            msg = "max_tokens must be at least 1, not 0, unless echo is true"
        elif self.seed is not None and self.seed + self.n - 1 > HIGHEST_SEED:
            msg = f"seed + n - 1 must be at most {HIGHEST_SEED}"
        else:
            return self
        raise ValueError(msg)

    def params(self, sample: int) -> SamplingParams:
        """Return how the engine is to write the given sample of each prompt, counted from 0."""
        params = SamplingParams(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            repetition_penalty=self.repetition_penalty,
            seed=None if self.seed is None else self.seed + sample,
            stop=self.stop,
        )
        # A bot never asks for 0 tokens, so the wire knows none; the engine does.
        return params.model_copy(update={"max_tokens": self.max_tokens})


def as_prompts(value: Any) -> tuple[Prompt, ...]:
    """Return the prompts that a field means, none if it is not understood.

    >>> as_prompts("hi"), as_prompts([1, 2]), as_prompts(["a", "b"]), as_prompts([1, "a"])
    (('hi',), ((1, 2),), ('a', 'b'), ())
    """
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        return ()
    if value and all(isinstance(each, str) for each in value):
        return tuple(value)
    if _are_ids(value):
        return (tuple(value),)
    if value and all(isinstance(each, list) and _are_ids(each) for each in value):
        return tuple(tuple(each) for each in value)
    return ()


def _are_ids(values: list[Any]) -> bool:
    return all(type(each) is int for each in values)


class TokenizeRequest(RequestBody):
    """What `/v1/tokenize` takes: text or ids."""

    model: ModelName | None = None
    text: Annotated[str, Field(max_length=MIB)] | None = None
    ids: Annotated[tuple[int, ...], Field(fail_fast=True)] | None = None

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if (self.text is None) == (self.ids is None):
            msg = "exactly one of text and ids must be given"
            raise ValueError(msg)
        return self


class Hyperparameters(RequestBody):
    """How to train; `auto` leaves it to `finetune`."""

    n_epochs: Annotated[float, Field(gt=0, le=1000)] | Literal["auto"] = "auto"
    batch_size: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=100)] | Literal["auto"] = "auto"


class Supervised(RequestBody):
    """The one method's settings."""

    hyperparameters: Hyperparameters = Hyperparameters()


class Method(RequestBody):
    """How to train; only one way is offered."""

    type: Literal["supervised"]
    supervised: Supervised = Supervised()


class FineTuningRequest(RequestBody):
    """What `/v1/fine_tuning/jobs` takes."""

    model: ModelName
    training_file: Annotated[str, Field(min_length=1, max_length=64)]
    suffix: (
        Annotated[str, Field(max_length=MAX_SUFFIX_CHARS, pattern=r"^[A-Za-z0-9_.\-]+$")] | None
    ) = None
    hyperparameters: Hyperparameters | None = None
    method: Method | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    metadata: dict[str, str] | None = None
    validation_file: Any = None
    integrations: Any = None

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        _refuse_unsupported(self, ("validation_file", "integrations"))
        return self

    @property
    def training(self) -> Hyperparameters:
        """Return how to train, from whichever of the two places it is said in."""
        if self.method is not None:
            return self.method.supervised.hyperparameters
        return self.hyperparameters or Hyperparameters()
