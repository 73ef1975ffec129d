"""Owns how weights are read from and written to a model folder. Knows no training and no steps.

The layout is Hugging Face's: `model.safetensors`, names with or without `transformer.`, linear
weights as `(in, out)` (OpenAI's Conv1D), the head tied or repeated, mask buffers ignored.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from codec.vocabulary import VocabularyError, find_vocabulary
from engine.config import ModelConfig
from engine.errors import ModelError
from engine.model import GPT2

WEIGHTS_NAME = "model.safetensors"
READABLE = 0o644
PREFIX = "transformer."
HEAD = "lm_head.weight"
CONV1D = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
MASK_BUFFERS = (".attn.bias", ".attn.masked_bias")


def load_model(folder: Path, *, device: torch.device, dtype: torch.dtype) -> GPT2:
    """Load a GPT-2 for inference.

    Raises:
        ModelError: a file is missing or damaged, or a tensor is missing, extra or wrong-shaped.
    """
    config = ModelConfig.from_folder(folder)
    path = folder / WEIGHTS_NAME
    if not path.is_file():
        msg = f"{folder} holds no weights: {WEIGHTS_NAME} is missing"
        raise ModelError(msg)
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        msg = f"cannot read {path}: {error}"
        raise ModelError(msg) from error
    with torch.device("meta"):
        model = GPT2(config)
    tensors = _to_module_layout(stored, path)
    _check(tensors, dict(model.named_parameters()), path)
    tensors = {name: tensor.to(device, dtype) for name, tensor in tensors.items()}
    model.load_state_dict(tensors, assign=True)
    return model.requires_grad_(requires_grad=False).eval()


def save_model(model: GPT2, vocabulary_from: Path, folder: Path, *, dtype: torch.dtype) -> None:
    """Write a folder that `load_model` and Hugging Face's `from_pretrained` read.

    All files are written beside their place first, so a full disk leaves an older model as it was.

    Args:
        model: what to save.
        vocabulary_from: folder whose vocabulary files are copied along.
        folder: where to; an older model there is replaced.
        dtype: of the stored numbers.

    Raises:
        ModelError: the vocabulary is missing, or the disk refuses.
    """
    partial = folder.with_name(folder.name + ".partial")
    tensors = {}
    for name, tensor in model.state_dict().items():
        stored = tensor.t() if name.endswith(CONV1D) else tensor
        tensors[PREFIX + name] = stored.to("cpu", dtype).contiguous()
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        encoder, merges = find_vocabulary(vocabulary_from)
        shutil.copyfile(encoder, partial / "vocab.json")
        shutil.copyfile(merges, partial / "merges.txt")
        fields = json.dumps(model.config.to_hugging_face(), indent=2)
        (partial / "config.json").write_text(fields + "\n", encoding="utf-8")
        save_file(tensors, partial / WEIGHTS_NAME, metadata={"format": "pt"})
        # safetensors keeps the file to its owner, and a container serves it as another user.
        (partial / WEIGHTS_NAME).chmod(READABLE)
        folder.mkdir(parents=True, exist_ok=True)
        for path in partial.iterdir():
            path.replace(folder / path.name)
        partial.rmdir()
    except (OSError, SafetensorError, VocabularyError) as error:
        msg = f"cannot save the model in {folder}: {error}"
        raise ModelError(msg) from error


def _to_module_layout(stored: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    tensors = {}
    for stored_name, tensor in stored.items():
        name = stored_name.removeprefix(PREFIX)
        if name.endswith(MASK_BUFFERS):
            continue
        if name in tensors:
            msg = f"{path} holds {name} twice, with and without the prefix {PREFIX!r}"
            raise ModelError(msg)
        tensors[name] = tensor.t() if name.endswith(CONV1D) and tensor.ndim == 2 else tensor
    head = tensors.pop(HEAD, None)
    if head is not None and not torch.equal(head, tensors.get("wte.weight", torch.empty(0))):
        msg = f"{path}: {HEAD} differs from wte.weight, and GPT-2's head is tied"
        raise ModelError(msg)
    return tensors


def _check(tensors: dict[str, Tensor], wanted: dict[str, Tensor], path: Path) -> None:
    missing = sorted(wanted.keys() - tensors.keys())
    extra = sorted(tensors.keys() - wanted.keys())
    if missing or extra:
        said = [f"lacks {', '.join(missing[:3])}"] if missing else []
        said += [f"holds the unknown {', '.join(extra[:3])}"] if extra else []
        msg = f"{path} {' and '.join(said)} ({len(missing)} missing, {len(extra)} extra in all)"
        raise ModelError(msg)
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            want, have = tuple(wanted[name].shape), tuple(tensor.shape)
            msg = f"{path}: {name} has the shape {have}, config.json asks for {want}"
            raise ModelError(msg)
