"""Owns the `evaluate` command: settings in, a table and JSON out."""

import importlib.metadata
import json
import platform
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from pydantic_settings import CliPositionalArg, SettingsConfigDict
from tqdm import tqdm

from codec.bpe import Tokenizer
from engine.config import ModelConfig
from engine.errors import InvalidRequestError, MemoryShortError, ModelError
from engine.evaluate.catalogue import TASKS
from engine.evaluate.identity import file_sha256, weights_sha256
from engine.evaluate.published import released_size
from engine.evaluate.report import Result, as_json, as_table
from engine.evaluate.scoring import Scorer, fitting_batch_size
from engine.evaluate.task import Prepared, Scores, Setting
from engine.loading import find_model, model_name, pick_device
from engine.settings import Command, ModelCommand
from engine.weights import load_model
from wire.version import VERSION

TaskName = Literal[
    "lambada",
    "wikitext2",
    "wikitext103",
    "ptb",
    "enwik8",
    "text8",
    "cbt-cn",
    "cbt-ne",
    "winograd",
]
PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
STANDARD_OUTPUT = "-"


class Evaluate(ModelCommand):
    """Measure a model as the GPT-2 paper did, beside its figures.

    For instance: `evaluate wikitext2 --data wiki.test.raw --model 124M --json wikitext2.json`.
    """

    model_config = SettingsConfigDict(
        cli_shortcuts={**(Command.model_config["cli_shortcuts"] or {}), "json-file": "json"}
    )

    task: CliPositionalArg[TaskName]
    """What to measure."""
    data: Path
    """The test set's file, in the form in which it is published."""
    stride: Annotated[int, Field(ge=1)] | None = None
    """Tokens by which windows move over a running text, at most the context; left out: the
    context, so that windows do not overlap: one pass, and what comes nearest to the paper."""
    batch_size: Annotated[int, Field(ge=1, le=65536)] | None = None
    """Rows computed at once; left out: what fits. It changes the time and not the result."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Look only at the first so many passages, questions, schemas, lines or bytes."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of weights and activations; half as many bits move the figures a little."""
    json_file: str | None = None
    """Also write the result and all that it depends on to this file; - for standard output, and
    then the table goes to standard error."""

    @model_validator(mode="after")
    def _check_stride(self) -> Self:
        if self.stride is not None and not TASKS[self.task].strided:
            named = ", ".join(name for name, task in TASKS.items() if task.strided)
            msg = f"stride is for running texts ({named}), and {self.task} has none"
            raise ValueError(msg)
        return self

    def run(self) -> None:
        """Measure, and show the result.

        Raises:
            EngineError: the model cannot be run, or the data is not what the task expects.
            VocabularyError: the model's vocabulary is damaged.
        """
        target = self._json_target()
        result = evaluate(self)
        text = json.dumps(as_json(result), indent=2, ensure_ascii=False) + "\n"
        # The table first: if the file cannot be written, hours of work are still to be seen.
        print(
            as_table(result),
            file=sys.stderr if self.json_file == STANDARD_OUTPUT else sys.stdout,
        )
        if self.json_file == STANDARD_OUTPUT:
            sys.stdout.write(text)
        elif target is not None:
            target.write_text(text, encoding="utf-8")

    def _json_target(self) -> Path | None:
        """Refuse a place that cannot be written before the work and not after it."""
        if self.json_file in (None, STANDARD_OUTPUT):
            return None
        target = Path(self.json_file or "")
        if target.is_dir() or not target.parent.is_dir():
            msg = f"json must name a file in a folder that exists, not {str(target)!r}"
            raise InvalidRequestError(msg)
        return target


def evaluate(settings: Evaluate) -> Result:
    """Measure one task on one model.

    Raises:
        EngineError: the model cannot be run, or the data is not what the task expects.
        VocabularyError: the model's vocabulary is damaged.
    """
    began_s = time.monotonic()
    folder = find_model(settings.model, settings.models)
    config, tokenizer = ModelConfig.from_folder(folder), Tokenizer.from_folder(folder)
    if tokenizer.n_vocab > config.n_vocab:
        msg = f"{folder}: {tokenizer.n_vocab} tokens do not fit vocab_size {config.n_vocab}"
        raise ModelError(msg)
    # The data first: what is wrong with it shows before a large model is loaded.
    setting = Setting(tokenizer, config.n_ctx, settings.stride or config.n_ctx, settings.limit)
    prepared = TASKS[settings.task].prepare(settings.data, setting)
    scorer = _scorer(settings, folder, config, prepared)
    run: dict[str, Any] = {
        "device": scorer.device.type,
        "precision": settings.precision,
        "batch_size": scorer.batch_size,
    }
    metrics = prepared.measure(_score(scorer, prepared))
    run["smallest_batch_size"] = scorer.batch_size
    run["wall_s"] = round(time.monotonic() - began_s, 1)
    return Result(
        task=settings.task,
        metrics=metrics,
        counts=prepared.counts,
        protocol=prepared.protocol,
        limit=settings.limit,
        model=_describe(folder, config),
        data={"file": settings.data.name, "sha256": file_sha256(settings.data)},
        run=run,
        versions=_versions(),
    )


def _scorer(settings: Evaluate, folder: Path, config: ModelConfig, prepared: Prepared) -> Scorer:
    device, dtype = pick_device(settings.device), PRECISIONS[settings.precision]
    model = load_model(folder, device=device, dtype=dtype)
    longest = max(len(request.ids) for request in prepared.requests) - 1
    fitting = fitting_batch_size(config, longest, device=device, dtype=dtype)
    return Scorer(model, batch_size=settings.batch_size or fitting)


def _score(scorer: Scorer, prepared: Prepared) -> list[Scores]:
    total = sum(request.num_scored for request in prepared.requests)
    # None: shown on a terminal only.
    with tqdm(total=total, unit="tok", unit_scale=True, disable=None) as bar:
        try:
            return scorer.score(
                prepared.requests, disallowed=prepared.disallowed, report=bar.update
            )
        except torch.OutOfMemoryError as error:
            msg = (
                f"The {scorer.device.type} is out of memory with a single row: use a smaller "
                f"model, another device or --precision bfloat16."
            )
            raise MemoryShortError(msg) from error


def _describe(folder: Path, config: ModelConfig) -> dict[str, Any]:
    return {
        "name": model_name(folder),
        "released_size": released_size(config),
        "parameters": config.num_parameters,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_embd": config.n_embd,
        "n_vocab": config.n_vocab,
        "n_ctx": config.n_ctx,
        "weights_sha256": weights_sha256(folder),
    }


def _versions() -> dict[str, str]:
    torch = importlib.metadata.version("torch")
    return {"python": platform.python_version(), "ovid": VERSION, "torch": torch}
