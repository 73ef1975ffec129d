"""The messages between bot and engine: plain, frozen, checked data that knows no transport.

Every model refuses unknown fields and out-of-range values with a sentence that names the field,
its bound and the value (`explain` makes that sentence from pydantic's error).
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from wire.base import QUOTES_NOTHING, Id, Message
from wire.provenance import Provenance
from wire.verdicts import Verified

MAX_TOKENS_LIMIT = 1023
"""A GPT-2 context is 1024 tokens, and at least one of them is the prompt (or end-of-text)."""
MAX_STOP_STRINGS = 4
MAX_STOP_CHARS = 64
MAX_BODY_BYTES = 16 * 1024
MAX_VERIFY_BYTES = 64 * 1024
"""The body of a job that asks where a text comes from."""
MAX_TEXT_BYTES = 64 * 1024
MAX_ORIGIN_BYTES = 2 * 1024
HIGHEST_SEED = 2**63 - 1
MAX_TOP_K = 50257
"""GPT-2's vocabulary: there is no more to choose from."""

Temperature = Annotated[float, Field(ge=0, le=2)]
TopK = Annotated[int, Field(ge=0, le=MAX_TOP_K)]
TopP = Annotated[float, Field(gt=0, le=1)]
RepetitionPenalty = Annotated[float, Field(ge=1, le=2)]
Seed = Annotated[int, Field(ge=0, le=HIGHEST_SEED)]
StopString = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARS)]
StopStrings = Annotated[tuple[StopString, ...], Field(max_length=MAX_STOP_STRINGS)]


class FinishReason(StrEnum):
    """Why a reply ended well."""

    STOP = "stop"
    """A stop string, or the model's own end of text."""
    LENGTH = "length"
    """`max_tokens` were written."""
    CANCELLED = "cancelled"
    """The person pressed Stop; what was written until then stands."""


class ErrorCode(StrEnum):
    """Why a job ended without a whole reply."""

    INVALID_REQUEST = "invalid_request"
    PROMPT_TOO_LONG = "prompt_too_long"
    OVERLOADED = "overloaded"
    DEADLINE = "deadline"
    ENGINE_LOST = "engine_lost"
    INTERNAL = "internal"
    NO_ENGINE = "no_engine"


class SamplingParams(Message):
    """How the next token is chosen, and when to stop.

    The defaults are those of OpenAI's published samples: temperature 1, top-k 40.
    """

    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS_LIMIT)] = 128
    temperature: Temperature = 1.0
    """0 is greedy: the most likely token, always."""
    top_k: TopK = 40
    """Keep the k most likely tokens; 0 keeps all."""
    top_p: TopP = 1.0
    """Keep the smallest set of tokens whose probability reaches p."""
    repetition_penalty: RepetitionPenalty = 1.0
    """Divide positive, multiply negative logits of tokens already seen (Keskar et al. 2019)."""
    seed: Seed | None = None
    """None: the engine draws one and reports it."""
    stop: StopStrings = ()
    watermark: bool = True
    """Mark the text, where the engine has a key; greedy text is never marked."""


class Job(Message):
    """One request of one person: for a text, or for word of where one comes from."""

    version: Literal[1] = 1
    kind: Literal["generate", "verify"] = "generate"
    job_id: Id
    """The idempotency key: derived from the Discord message or interaction id."""
    user_id: Id
    bot_id: Id
    """The bot that shows the reply."""
    model: Id | None = None
    """None: whatever the engine runs. Only an engine that has the model takes the job."""
    prompt: Annotated[str, Field(max_length=MAX_VERIFY_BYTES)] = ""
    """What the text begins with; empty: an unconditional sample. To verify: the text itself."""
    params: SamplingParams = SamplingParams()
    """To verify: without meaning."""
    deadline_unix_ms: Annotated[int, Field(ge=0)]
    origin: Annotated[str, Field(max_length=MAX_ORIGIN_BYTES)] = ""
    """The bot's own note of where the reply belongs. No engine reads it."""

    @model_validator(mode="after")
    def _fits_the_queue(self) -> Self:
        size_bytes = len(self.model_dump_json().encode())
        most_bytes = MAX_VERIFY_BYTES if self.kind == "verify" else MAX_BODY_BYTES
        if size_bytes > most_bytes:
            msg = f"job is {size_bytes} bytes long, at most {most_bytes} are taken"
            raise ValueError(msg)
        return self


class Usage(Message):
    """What one reply took."""

    prompt_tokens: Annotated[int, Field(ge=0)]
    completion_tokens: Annotated[int, Field(ge=0)]
    queue_ms: Annotated[int, Field(ge=0)]
    """From submission to the claim that led to this reply."""
    first_token_ms: Annotated[int, Field(ge=0)] | None
    """From that claim to the first token; None where there is none."""
    total_ms: Annotated[int, Field(ge=0)]
    """From submission to the last token."""


class Started(Message):
    """An engine has begun. `attempt` counts from 1; a later attempt starts the text afresh."""

    kind: Literal["started"] = "started"
    attempt: Annotated[int, Field(ge=1)]
    model_name: str


class Delta(Message):
    """More text. `offset_bytes` is where it begins in the UTF-8 text of this attempt."""

    kind: Literal["delta"] = "delta"
    offset_bytes: Annotated[int, Field(ge=0)]
    text: str


class Retried(Message):
    """The engine was lost; the job waits for another one, and the text starts afresh."""

    kind: Literal["retried"] = "retried"
    attempt: Annotated[int, Field(ge=1)]


class Done(Message):
    """The last word of a reply that ended well."""

    kind: Literal["done"] = "done"
    finish_reason: FinishReason
    usage: Usage
    model_name: str
    seed: Seed
    provenance: Provenance | None = None
    """What wrote it; None: nothing did, since the job was cancelled before a model had it."""


class Failed(Message):
    """The last word of a reply that did not: `message` is a whole sentence for a person."""

    kind: Literal["failed"] = "failed"
    code: ErrorCode
    message: str


Outcome = Done | Failed | Verified
"""Every job ends with exactly one of these: to generate with the first, to verify with the last,
and either with `Failed`."""
Event = Annotated[Started | Delta | Retried | Done | Failed, Field(discriminator="kind")]

outcome_adapter: TypeAdapter[Outcome] = TypeAdapter(
    Annotated[Outcome, Field(discriminator="kind")], config=QUOTES_NOTHING
)
event_adapter: TypeAdapter[Started | Delta | Retried | Done | Failed] = TypeAdapter(Event)


def explain(error: ValidationError) -> str:
    """Say in one sentence what is wrong with the first bad field.

    >>> try:
    ...     SamplingParams(temperature=3)
    ... except ValidationError as error:
    ...     explain(error)
    'temperature: input should be less than or equal to 2, not 3.'
    """
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    said = said[:1].lower() + said[1:]
    if not field:
        return f"{said}."
    value = repr(first["input"])
    shown = value if len(value) <= 60 else f"{value[:57]}..."
    return f"{field}: {said}, not {shown}."
