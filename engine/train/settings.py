"""Owns the options of a run of training: what is trained, on what, for how long, what is shown."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import CliPositionalArg

from engine.errors import InvalidRequestError
from engine.loading import canonical_name
from engine.releases import RELEASES
from engine.settings import ModelCommand
from engine.train.params import TrainingParams
from wire.base import Id
from wire.jobs import MAX_TOKENS_LIMIT, Seed


def _own_name(name: str) -> str:
    if name.casefold() == "demo" or canonical_name(name.casefold()) in RELEASES:
        msg = f"{name} is the name of a model that comes from elsewhere: choose another"
        raise ValueError(msg)
    if name.startswith(".") or name.endswith(".partial"):
        msg = "a model's name neither begins with a dot nor ends with .partial"
        raise ValueError(msg)
    return name


class TrainingSettings(ModelCommand):
    """What a person can say about a run."""

    data: CliPositionalArg[Path]
    """Text to train on: .txt, .md, .jsonl ({"text": …} or {"prompt": …, "completion": …}), a chat
    export of DiscordChatExporter (.json), or a folder of such files."""
    name: Annotated[Id, AfterValidator(_own_name)]
    """The name of the new model, a folder below the models' folder."""
    model: str = "demo"
    """The model to start from: a name or a folder."""
    overwrite: bool = False
    """Replace an older model of that name."""
    fresh: bool = False
    """Start from random weights: take only the shape and vocabulary of the model."""
    epochs: Annotated[float, Field(gt=0, le=1000)] = 2.0
    """Passes over the text."""
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    """Minutes of training, at most, reading the text apart; the learning-rate schedule shrinks to
    fit."""
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 4
    """Blocks in a batch."""
    accumulate: Annotated[int, Field(ge=1, le=1024)] = 1
    """Batches in an optimisation step."""
    block_tokens: Annotated[int, Field(ge=8)] | None = None
    """Tokens in a block; left out: the model's context."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-4
    """The highest learning rate of the schedule."""
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    """Steps over which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Decay of the weight matrices (AdamW)."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Longer gradients are scaled down to this."""
    gradient_checkpointing: bool = False
    """Keep less for the way back and compute it again: far less memory, a third more time."""
    lora_rank: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Train adapters of this rank and not the weights: less memory still (needs peft)."""
    lora_alpha: Annotated[int, Field(ge=1)] = 16
    """Scale of the adapters, divided by their rank."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.02
    """Share of the documents that is set aside to judge by."""
    evaluate_every: Annotated[int, Field(ge=1)] | None = None
    """Steps between two looks at the held-out text; left out: one at the end of each epoch."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """End after so many looks that found nothing better, and save the best weights."""
    sample_every: Annotated[int, Field(ge=1)] | None = None
    """Steps between two samples; left out: none is written."""
    sample_prompt: str = ""
    """What the samples continue."""
    sample_length: Annotated[int, Field(ge=1, le=MAX_TOKENS_LIMIT)] = 100
    """Tokens in a sample, at most."""
    save_every_s: Annotated[float, Field(ge=0)] = 120.0
    """Seconds between two checkpoints, from which a stopped run goes on."""
    seed: Seed = 0
    """Of what is held out, of the order of the text, and of fresh weights."""

    @model_validator(mode="after")
    def _adapters_have_something_to_adapt(self) -> Self:
        if self.fresh and self.lora_rank is not None:
            msg = "--lora-rank adapts the weights of a model, and --fresh takes none"
            raise ValueError(msg)
        return self

    @property
    def out(self) -> Path:
        """Return the new model's folder."""
        return self.models / self.name

    def params(self, n_ctx: int) -> TrainingParams:
        """Return what the loop needs, for a model with that context.

        Raises:
            InvalidRequestError: the blocks are longer than the context.
        """
        block_tokens = self.block_tokens or n_ctx
        if block_tokens > n_ctx:
            msg = f"block_tokens must be at most {n_ctx}, the model's context, not {block_tokens}"
            raise InvalidRequestError(msg)
        return TrainingParams(
            epochs=self.epochs,
            max_minutes=self.max_minutes,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            block_tokens=block_tokens,
            learning_rate=self.learning_rate,
            warmup_steps=self.warmup_steps,
            weight_decay=self.weight_decay,
            max_grad_norm=self.max_grad_norm,
            seed=self.seed,
            evaluate_every=self.evaluate_every,
            patience=self.patience,
            save_every_s=self.save_every_s,
        )
