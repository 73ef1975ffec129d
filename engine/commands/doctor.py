"""Owns the `doctor` command: what would keep `serve`, with the same settings, from working.

Loads no weights and makes no key. What Redis is asked stands in `wire.checkup`.
"""

import asyncio
import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import torch

from codec.bpe import Tokenizer
from codec.vocabulary import VocabularyError
from engine.checkpoints.opening import open_checkpoint
from engine.commands.key_checkup import check_key, unwritable_above
from engine.commands.serve import Serve, http_options
from engine.config import ModelConfig
from engine.errors import EngineError, ModelError
from engine.loading import check_memory, find_model, model_folders, pick_device, pick_dtype
from engine.memory import MIB, available_bytes
from wire.checkup import check_queue
from wire.findings import Finding, exit_status, fault, note, ok, warn
from wire.listening import check_port


class Doctor(Serve):
    """Say what would keep `serve` from working, and the remedy.

    It takes what `serve` takes, from the same places. Exit status: 0 all is well, 1 there are
    warnings, 2 something cannot work.
    """

    def run(self) -> None:
        """Check everything and print a line for each finding; ten seconds at most.

        Raises:
            SystemExit: something is not as it should be.
        """
        about_key, own_mark = check_key(self)
        found = [_versions(), *_check_device(self), *check_models(self), *about_key]
        if self.redis:
            url = self.redis_url.get_secret_value()
            found += asyncio.run(check_queue(url, engine_expected=False, own_mark=own_mark))
        found += _check_doors(self)
        for each in found:
            print(each.line())
        if status := exit_status(found):
            raise SystemExit(status)


def _versions() -> Finding:
    return ok("versions", f"Python {platform.python_version()}, torch {torch.__version__}")


def _check_device(settings: Serve) -> Iterator[Finding]:
    try:
        device = pick_device(settings.device)
    except EngineError as error:
        yield fault("device", _said(error), "Take OVID_DEVICE=auto.")
        return
    free = f"{available_bytes(device) // MIB} MiB are free"
    if device.type == "cuda":
        yield ok("device", f"{torch.cuda.get_device_name(device)}, {free}")
        return
    num_threads, num_cores = torch.get_num_threads(), os.cpu_count() or 1
    yield ok("device", f"the CPU with {num_threads} threads, {free}")
    if num_threads > num_cores:
        said = f"{num_threads} threads share {num_cores} cores, and wait for each other"
        yield warn("device", said, f"Set OVID_THREADS={num_cores}.")


def check_models(settings: Serve) -> Iterator[Finding]:
    """Check the models folder, each model in it, and whether the default one fits into memory.

    Args:
        settings: those of the engine.
    """
    models = settings.models
    folders = model_folders(models)
    try:
        chosen = find_model(settings.model, models)
    except ModelError:
        chosen = None
        said = f"the default model {settings.model!r} is neither in {models} nor a folder"
        remedy = "Name one in OVID_MODEL, or fetch one: python -m engine download 124M."
        yield fault("models", said, remedy)
    for name, folder in folders.items():
        if folder != chosen:
            found = _check_model(name, folder)
            yield found or ok("models", f"{name} can be read")
    try:
        for partial in sorted(models.glob("*.partial")):
            yield note("models", f"{partial} is unfinished", "The same command again finishes it.")
    except OSError as error:
        yield fault("models", f"{models}: {error.strerror}", "Let the engine's user look into it.")
    if chosen is not None:
        found = _check_model(settings.model, chosen)
        yield (
            fault("models", found.said, found.remedy) if found else _check_memory(settings, chosen)
        )


def _check_model(name: str, folder: Path) -> Finding | None:
    try:
        config = ModelConfig.from_folder(folder)
        tokenizer = Tokenizer.from_folder(folder)
        open_checkpoint(folder)
    except (ModelError, VocabularyError, OSError) as error:
        remedy = f"Put it there anew, or take {folder} away."
        return warn("models", f"{name} is of no use: {_said(error)}", remedy)
    if tokenizer.n_vocab > config.n_vocab:
        said = f"{name} has {tokenizer.n_vocab} tokens and room for {config.n_vocab}"
        return warn("models", said, "Give it the vocabulary that it was trained with.")
    return None


def _check_memory(settings: Serve, folder: Path) -> Finding:
    try:
        device = pick_device(settings.device)
        config = ModelConfig.from_folder(folder)
        check_memory(config, settings.slots, device, pick_dtype(device))
    except EngineError as error:
        return fault("memory", _said(error), "Take fewer OVID_SLOTS or a smaller model.")
    return ok("models", f"{settings.model}, the default, can be read and fits into memory")


def _check_doors(settings: Serve) -> Iterator[Finding]:
    """Check who may come in over HTTP, and each port; both at once, as `serve` opens them."""
    try:
        http = http_options(settings)
    except EngineError as error:
        yield fault("http", _said(error), "Until then `serve` does not start.")
    else:
        above = unwritable_above(http.files / "any") if http is not None else None
        if above is not None:
            said = f"uploads cannot be kept in {settings.models}"
            yield fault("http", said, f"Let {above} be a folder that can be written to.")
    with contextlib.ExitStack() as opened:
        for door, host, port in (
            ("http", settings.http_host, settings.http_port),
            ("health", settings.health_host, settings.health_port),
        ):
            if port:
                setting = f"OVID_{door.upper()}"
                yield check_port(opened, door, setting, host, port, who="an engine")


def _said(error: Exception) -> str:
    return str(error).removesuffix(".")
