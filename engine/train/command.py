"""Owns the `finetune` command: settings in, a model folder and its loss log out."""

import csv
import hashlib
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from pydantic_settings import CliPositionalArg

from codec.bpe import Tokenizer
from engine.config import ModelConfig
from engine.errors import InvalidRequestError
from engine.loading import find_model, pick_device
from engine.model import GPT2
from engine.settings import ModelCommand
from engine.train.data import Corpus, build_corpus, read_documents
from engine.train.finetune import HeldOutLoss, TrainingParams, train
from engine.weights import load_model, save_model


class Finetune(ModelCommand):
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

    def run(self) -> None:
        """Train, and say where the model is and how well it does."""
        out = finetune(self, find_model(self.model, self.models), pick_device(self.device))
        print(f"The model is in {out}:\n{(out / 'training.json').read_text(encoding='utf-8')}")


def finetune(settings: Finetune, source: Path, device: torch.device) -> Path:
    """Train and save.

    Args:
        settings: what to do.
        source: folder of the model to start from.
        device: where to train.

    Returns:
        The new model's folder, with `losses.csv` and `training.json` beside the weights.

    Raises:
        EngineError: the text or the model cannot be used.
    """
    out = settings.models / settings.name
    scratch = out / ".train"
    tokenizer = Tokenizer.from_folder(source)
    corpus = build_corpus(
        read_documents(settings.data),
        tokenizer,
        held_out_share=settings.held_out,
        seed=settings.seed,
    )
    model = _start(settings, source, device)
    if tokenizer.n_vocab > model.config.n_vocab:
        msg = f"{source}: {tokenizer.n_vocab} tokens do not fit n_vocab {model.config.n_vocab}"
        raise InvalidRequestError(msg)
    params = _params(settings, model.config)
    scratch.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()
    run = _run_name(settings, params, corpus)
    held_out = _train_logged(model, corpus, params, scratch, run)
    save_model(model, source, out, dtype=torch.float16)
    (scratch / "losses.csv").replace(out / "losses.csv")
    shutil.rmtree(scratch)
    summary = {
        "held_out_nats_per_token": round(held_out.nats_per_token, 4),
        "held_out_bits_per_byte": round(held_out.bits_per_byte, 4),
        "train_tokens": len(corpus.train),
        "steps": _last_step(out / "losses.csv"),
        "wall_s": round(time.monotonic() - began_s),
        **_asked_for(settings, params),
    }
    (out / "training.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return out


def _train_logged(
    model: GPT2, corpus: Corpus, params: TrainingParams, scratch: Path, run: str
) -> HeldOutLoss:
    with (scratch / "losses.csv").open("a", encoding="utf-8", newline="") as file:
        losses = csv.writer(file)

        def report(step: int, loss: float) -> None:
            losses.writerow((step, f"{loss:.4f}"))
            file.flush()

        return train(model, corpus, params, checkpoints=scratch, run=run, report=report)


def _start(settings: Finetune, source: Path, device: torch.device) -> GPT2:
    if settings.fresh:
        model = GPT2(ModelConfig.from_folder(source))
        model.initialise(torch.Generator().manual_seed(settings.seed))
        return model.to(device)
    return load_model(source, device=device, dtype=torch.float32).requires_grad_()


def _params(settings: Finetune, config: ModelConfig) -> TrainingParams:
    block_tokens = settings.block_tokens or config.n_ctx
    if block_tokens > config.n_ctx:
        msg = (
            f"block_tokens must be at most {config.n_ctx}, the model's context, not {block_tokens}"
        )
        raise InvalidRequestError(msg)
    return TrainingParams(
        epochs=settings.epochs,
        max_minutes=settings.max_minutes,
        batch_size=settings.batch_size,
        accumulate=settings.accumulate,
        block_tokens=block_tokens,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        seed=settings.seed,
    )


def _run_name(settings: Finetune, params: TrainingParams, corpus: Corpus) -> str:
    """Name what a run's losses depend on. How long it may take is not among that."""
    lasting = replace(params, max_minutes=None)
    digest = hashlib.sha256(f"{lasting} {settings.model} {settings.fresh}".encode())
    for stream in (corpus.train, corpus.held_out):
        digest.update(stream.numpy().tobytes())
    return digest.hexdigest()


def _last_step(losses: Path) -> int:
    # From the log and not from this run, which may only have had to save what another had trained.
    lines = losses.read_text(encoding="utf-8").splitlines()
    return int(lines[-1].partition(",")[0]) if lines else 0


def _asked_for(settings: Finetune, params: TrainingParams) -> dict[str, object]:
    return {
        "epochs": params.epochs,
        "max_minutes": params.max_minutes,
        "batch_size": params.batch_size * params.accumulate,
        "block_tokens": params.block_tokens,
        "learning_rate": params.learning_rate,
        "seed": settings.seed,
    }
