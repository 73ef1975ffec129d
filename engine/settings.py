"""Owns what can be set, for each command: by option, by environment (`OVID_…`), by `.env`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, CliPositionalArg, SettingsConfigDict

from wire.jobs import MAX_STOP_CHARS, MAX_STOP_STRINGS

StopString = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARS)]


class Settings(BaseSettings):
    """What every command takes."""

    model_config = SettingsConfigDict(
        env_prefix="OVID_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    models: Path = Path("models")
    """Folder of the models that are known by name."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to run; auto takes CUDA when there is one."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """CPU threads of the model; left out: all cores."""


class FinetuneSettings(Settings):
    """Train a GPT-2 on text and save it as a model folder."""

    data: CliPositionalArg[Path]
    """Text to train on: .txt, .md or .jsonl ({"text": …}), or a folder of such files."""
    name: str
    """The name of the new model, a folder below the models' folder."""
    model: str = "demo"
    """The model to start from: a name or a folder."""
    fresh: bool = False
    """Start from random weights: take only the shape and vocabulary of the model."""
    epochs: Annotated[float, Field(gt=0, le=1000)] = 2.0
    """Passes over the text."""
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    """End by then; the learning-rate schedule shrinks to fit."""
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 4
    """Blocks in a batch."""
    accumulate: Annotated[int, Field(ge=1, le=1024)] = 1
    """Batches in an optimisation step."""
    block_tokens: Annotated[int, Field(ge=8)] | None = None
    """Tokens in a block; left out: the model's context."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-4
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.1
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.02
    """Share of the documents that is set aside to judge by."""
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0


class ServeSettings(Settings):
    """Serve a GPT-2 to the bots at a Redis."""

    model: str = "demo"
    """The model to run: a name or a folder."""
    redis_url: SecretStr = SecretStr("redis://localhost:6379/0")
    """Any redis-py URL; it may hold a password, and is shown without it."""
    slots: Annotated[int, Field(ge=1, le=1024)] = 8
    """Replies written at once. Each takes its share of memory for keys and values."""
    prefill_tokens: Annotated[int, Field(ge=16)] = 512
    """Prompt tokens read in one step: fewer keep running replies flowing past a long prompt."""
    grace_s: Annotated[float, Field(ge=0, le=600)] = 5.0
    """On shutdown, how long running replies may finish before another engine gets them."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class SampleSettings(Settings):
    """Write samples on the command line."""

    model: str = "demo"
    """The model to run: a name or a folder."""
    prompt: str = ""
    """What to continue; left out: an unconditional sample."""
    nsamples: Annotated[int, Field(ge=1, le=1024)] = 1
    """How many samples; their seeds count up from the first."""
    length: Annotated[int, Field(ge=1, le=1023)] = 128
    """Tokens in a sample, at most."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_k: Annotated[int, Field(ge=0, le=50257)] = 40
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    repetition_penalty: Annotated[float, Field(ge=1, le=2)] = 1.0
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None
    stop: Annotated[tuple[StopString, ...], Field(max_length=MAX_STOP_STRINGS)] = ()
    """Text at which a sample ends; may be given up to four times."""
    slots: Annotated[int, Field(ge=1, le=1024)] = 8
    """Samples written at once."""
