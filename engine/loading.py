"""Owns the way from a model's name to a running engine: folder, device, precision, memory."""

import os
import re
from pathlib import Path

import torch

from codec.bpe import Tokenizer
from engine.config import ModelConfig
from engine.errors import EngineError, ModelError
from engine.kv_cache import KVCache
from engine.llm_engine import LLMEngine
from engine.model_runner import TorchModelRunner
from engine.scheduler import Scheduler
from engine.weights import load_model

RELEASED = {(12, 768): "124M", (24, 1024): "355M", (36, 1280): "774M", (48, 1600): "1558M"}
RELEASED_N_VOCAB = 50257
MIB = 2**20


def find_model(name: str, models: Path) -> Path:
    """Return the folder of a model given by path or by name.

    Raises:
        ModelError: there is none; the sentence says how to get one.
    """
    for folder in (models / name, Path(name)):
        if (folder / "config.json").is_file() or (folder / "hparams.json").is_file():
            return folder
    msg = (
        f"There is no model {name!r}: neither {models / name} nor {name} holds a config.json. "
        f"The model 'demo' comes with Ovid; any other GPT-2 is a folder with config.json, "
        f"model.safetensors, vocab.json and merges.txt, as Hugging Face's openai-community/gpt2 "
        f"has them: put it into {models} or give its path."
    )
    raise ModelError(msg)


def pick_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu` or `cuda`.

    Raises:
        EngineError: CUDA is asked for and not there.
    """
    if name == "cuda" and not torch.cuda.is_available():
        msg = "The device is set to cuda, but PyTorch sees no CUDA device: use cpu or auto."
        raise EngineError(msg)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def pick_dtype(device: torch.device) -> torch.dtype:
    """Return the precision of weights and cache: bfloat16 from Ampere on, float16 before it."""
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def model_name(folder: Path, config: ModelConfig) -> str:
    """Return what a job asks for and people are told: the release's size, or the folder's name.

    What `wire.jobs.Id` does not allow in a folder's name becomes a hyphen.
    """
    released = RELEASED.get((config.n_layer, config.n_embd))
    if released is None or config.n_vocab != RELEASED_N_VOCAB:
        return re.sub(r"[^A-Za-z0-9_.\-]+", "-", folder.resolve().name)[:64] or "unnamed"
    return released


def load_engine(
    folder: Path, device: torch.device, *, num_slots: int, prefill_tokens: int, max_waiting: int
) -> tuple[LLMEngine, str]:
    """Load a model folder and build an engine around it.

    Returns:
        The engine and the model's name.

    Raises:
        ModelError: the folder is damaged or not a GPT-2.
        VocabularyError: its vocabulary is.
        EngineError: weights and cache for that many slots do not fit into memory.
    """
    dtype = pick_dtype(device)
    tokenizer = Tokenizer.from_folder(folder)
    config = ModelConfig.from_folder(folder)
    if tokenizer.n_vocab > config.n_vocab:
        msg = f"{folder}: {tokenizer.n_vocab} tokens do not fit vocab_size {config.n_vocab}"
        raise ModelError(msg)
    _check_memory(config, num_slots, device, dtype)
    model = load_model(folder, device=device, dtype=dtype)
    runner = TorchModelRunner(model, num_slots=num_slots, n_vocab=tokenizer.n_vocab)
    scheduler = Scheduler(
        num_slots=num_slots,
        prefill_tokens=prefill_tokens,
        max_waiting=max_waiting,
        eot=tokenizer.eot,
    )
    return LLMEngine(runner, scheduler, tokenizer, n_ctx=config.n_ctx), model_name(folder, config)


def _check_memory(
    config: ModelConfig, num_slots: int, device: torch.device, dtype: torch.dtype
) -> None:
    weights = config.num_parameters * dtype.itemsize
    need = weights + KVCache.num_bytes(config, num_slots, dtype)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
    else:
        free = _available_bytes()
    if need > free:
        most = max(0, free - weights) // KVCache.num_bytes(config, 1, dtype)
        msg = (
            f"The weights and {num_slots} slots need {need // MIB} MiB, but {free // MIB} MiB are "
            f"free on {device.type}: at most {most} slots fit."
        )
        raise EngineError(msg)


def _available_bytes() -> int:
    # The page cache gives way, so free pages alone would be far too few.
    try:
        meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
        return int(meminfo.partition("MemAvailable:")[2].split()[0]) * 1024
    except (OSError, IndexError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
