"""Owns the way from a model's name to a running engine: folder, device, precision, memory."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from codec.bpe import Tokenizer
from engine.config import CONFIG_NAMES, ModelConfig
from engine.errors import EngineError, InvalidRequestError, MemoryShortError, ModelError
from engine.kv_cache import KVCache
from engine.llm_engine import LLMEngine
from engine.memory import MIB, available_bytes
from engine.model import GPT2
from engine.model_runner import TorchModelRunner
from engine.provenance import Maker
from engine.releases import RELEASES, find_release
from engine.scheduler import Scheduler
from engine.watermark import WatermarkKey
from engine.weights import hash_weights, load_model, unreplaced

if TYPE_CHECKING:
    from wire.provenance import Device, Precision

NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
"""As `wire.jobs.Id`."""


def canonical_name(name: str) -> str:
    """Return the one name of a model that has several: the released ones do.

    >>> canonical_name("openai-community/gpt2-xl"), canonical_name("notes")
    ('1558M', 'notes')
    """
    try:
        return find_release(name).name
    except InvalidRequestError:
        return name


def model_name(folder: Path) -> str:
    """Return what a job asks for and people are told: the folder's name, or the release's size.

    What `wire.jobs.Id` does not allow in a folder's name becomes a hyphen.
    """
    own = folder.name if folder.name not in ("", "..") else folder.resolve().name
    return canonical_name(re.sub(r"[^A-Za-z0-9_.\-]+", "-", own)[:64] or "unnamed")


def model_folders(models: Path) -> dict[str, Path]:
    """Return the models below a folder by name, looked up afresh.

    A folder counts when it holds a config, its name can stand in a job, and it is neither hidden
    nor still being written (`*.partial`).
    """
    try:
        folders = sorted(folder for folder in models.iterdir() if _can_be_named(folder.name))
    except OSError:
        return {}
    found = {canonical_name(folder.name): folder for folder in folders if _holds_model(folder)}
    # Where a released model is here twice, the folder of its own name is it.
    return found | {name: models / name for name in found if _holds_model(models / name)}


def find_model(name: str, models: Path) -> Path:
    """Return the folder of a model given by path or by any of its names.

    Raises:
        ModelError: there is none; the sentence says how to get one.
    """
    places = [models / name, Path(name), model_folders(models).get(canonical_name(name))]
    for folder in places:
        if folder is not None and _holds_model(folder):
            return folder
    size = canonical_name(name) if canonical_name(name) in RELEASES else "124M"
    msg = (
        f"There is no model {name!r}: neither {models / name} nor {name} holds a config.json. "
        f"The model 'demo' comes with Ovid; `python -m engine download {size}` fetches a released "
        f"one, and any other GPT-2 is a folder with its config.json (or hparams.json), its weights "
        f"(safetensors, pytorch_model.bin, or TensorFlow's model.ckpt) and its vocabulary "
        f"(vocab.json and merges.txt, or encoder.json and vocab.bpe): put it into {models} or give "
        f"its path."
    )
    raise ModelError(msg)


def _can_be_named(name: str) -> bool:
    return bool(NAME.fullmatch(name)) and not name.startswith(".") and not name.endswith(".partial")


def _holds_model(folder: Path) -> bool:
    try:
        return any((folder / name).is_file() for name in CONFIG_NAMES)
    except OSError:
        # One that may not be looked into, or that a disk has lost, is no model to us.
        return False


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


def load_engine(
    folder: Path,
    device: torch.device,
    *,
    num_slots: int,
    prefill_tokens: int,
    max_waiting: int,
    watermark: WatermarkKey | None = None,
) -> tuple[LLMEngine, str]:
    """Load a model folder and build an engine around it, whose texts a key marks if there is one.

    Returns:
        The engine and the model's name.

    Raises:
        ModelError: the folder is damaged, not a GPT-2, or was replaced while it was read.
        VocabularyError: its vocabulary is.
        MemoryShortError: weights and cache for that many slots do not fit into memory.
    """
    dtype = pick_dtype(device)
    with unreplaced(folder):
        config = ModelConfig.from_folder(folder)
        # First of all, since it costs nothing and may be all that is done.
        check_memory(config, num_slots, device, dtype)
        tokenizer = _load_tokenizer(folder, config)
        model, weights = _load_and_hash(folder, device, dtype)
    runner = TorchModelRunner(
        model, num_slots=num_slots, n_vocab=tokenizer.n_vocab, watermark=watermark
    )
    scheduler = Scheduler(
        num_slots=num_slots,
        prefill_tokens=prefill_tokens,
        max_waiting=max_waiting,
        eot=tokenizer.eot,
    )
    maker = _maker(weights, device, dtype, watermark)
    engine = LLMEngine(runner, scheduler, tokenizer, n_ctx=config.n_ctx, maker=maker)
    return engine, model_name(folder)


def _load_tokenizer(folder: Path, config: ModelConfig) -> Tokenizer:
    tokenizer = Tokenizer.from_folder(folder)
    if tokenizer.n_vocab > config.n_vocab:
        msg = f"{folder}: {tokenizer.n_vocab} tokens do not fit vocab_size {config.n_vocab}"
        raise ModelError(msg)
    return tokenizer


def _load_and_hash(folder: Path, device: torch.device, dtype: torch.dtype) -> tuple[GPT2, str]:
    # Side by side, since to hash takes as long as to load: both read the same pages of memory.
    with ThreadPoolExecutor(1, "hashing") as beside:
        hashing = beside.submit(hash_weights, folder)
        model = load_model(folder, device=device, dtype=dtype)
        return model, hashing.result()


def _maker(
    weights: str, device: torch.device, dtype: torch.dtype, watermark: WatermarkKey | None
) -> Maker:
    return Maker(
        weights=weights,
        device=cast("Device", device.type),
        precision=cast("Precision", str(dtype).removeprefix("torch.")),
        key=watermark.fingerprint if watermark else None,
    )


def check_memory(
    config: ModelConfig, num_slots: int, device: torch.device, dtype: torch.dtype
) -> None:
    """See that weights and cache fit into what is free.

    Raises:
        MemoryShortError: they do not; the sentence has the numbers.
    """
    weights = config.num_parameters * dtype.itemsize
    need = weights + KVCache.num_bytes(config, num_slots, dtype)
    free = available_bytes(device)
    if need > free:
        most = max(0, free - weights) // KVCache.num_bytes(config, 1, dtype)
        msg = (
            f"The weights and {num_slots} slots need {need // MIB} MiB, but {free // MIB} MiB are "
            f"free on {device.type}: at most {most} slots fit."
        )
        raise MemoryShortError(msg)
