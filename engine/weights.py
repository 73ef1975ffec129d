"""Owns how weights are read from and written to a model folder. Knows no training and no steps.

Written are `config.json` and `model.safetensors` as Hugging Face has them; every format that
`engine.checkpoints` knows is read: names with or without `transformer.`, linear weights as
`(in, out)` (OpenAI's Conv1D), the head tied or repeated, mask buffers ignored.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from codec.vocabulary import VocabularyError, find_vocabulary, read_vocabulary
from engine.checkpoints.opening import SAFETENSORS_NAME, open_checkpoint
from engine.checkpoints.replacing import replace_model
from engine.checkpoints.stored import StoredTensor, StoredTensors, reading
from engine.config import ModelConfig, find_config
from engine.errors import ModelError
from engine.model import GPT2
from wire.provenance import WEIGHTS_DIGITS

READABLE = 0o644
STAGING = ".saving"
PREFIX = "transformer."
HEAD = "lm_head.weight"
EMBEDDINGS = "wte.weight"
CONV1D = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
MASK_BUFFERS = (".attn.bias", ".attn.masked_bias")


def load_model(folder: Path, *, device: torch.device, dtype: torch.dtype) -> GPT2:
    """Load a GPT-2 for inference, one tensor after the other, into memory of its own.

    Raises:
        ModelError: a file is missing or damaged; a tensor is missing, extra or wrong-shaped; or the
            model was replaced by another while it was read.
    """
    with unreplaced(folder):
        model, stored, head = _open(folder)
        if head is not None:
            _check_tied(head, stored[EMBEDDINGS])
            del head
        weights = {name: _read(name, stored.pop(name), device, dtype) for name in list(stored)}
    model.load_state_dict(weights, assign=True)
    return model.requires_grad_(requires_grad=False).eval()


def hash_weights(folder: Path) -> str:
    """Return what tells a model's numbers from any other's, whatever file they are stored in.

    Returns:
        The first 16 digits of a SHA-256 over the tensors in the order of their names in the module,
        as they are stored: for each its name, dtype, shape and bytes. A repeated head and the mask
        buffers do not count.

    Raises:
        ModelError: as `load_model`.
    """
    _, stored, _ = _open(folder)
    whole = hashlib.sha256()
    for name in sorted(stored):
        tensor = stored[name].read().contiguous()
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # The hash works while another thread loads, since it is given large pieces.
        whole.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()[:WEIGHTS_DIGITS]


@contextmanager
def unreplaced(folder: Path) -> Iterator[None]:
    """See that what is read of a model folder meanwhile is all of one model.

    Raises:
        ModelError: it was replaced by another, or is no model folder.
    """
    before = _version(folder)
    yield
    if _version(folder) != before:
        msg = f"{folder} was replaced by another model while it was read: load it again"
        raise ModelError(msg)


def save_model(model: GPT2, vocabulary_from: Path, folder: Path, *, dtype: torch.dtype) -> None:
    """Write a folder that `load_model` and Hugging Face's `from_pretrained` read.

    All files are written elsewhere first, so a full disk leaves an older model as it was; then the
    folder is replaced as `replace_model` says, and what is no part of a model stays in it.

    Args:
        model: what to save.
        vocabulary_from: folder whose vocabulary files are copied along.
        folder: where to; an older model there is replaced, in whichever format it is.
        dtype: of the stored numbers.

    Raises:
        ModelError: the vocabulary is missing or damaged, or the disk refuses.
    """
    folder = folder.resolve()
    # One level down, where nobody who looks for models finds a half-written one.
    staging = folder.parent / STAGING / folder.name
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        _write(model, vocabulary_from, staging, dtype)
        replace_model(staging, folder)
    except (OSError, SafetensorError, VocabularyError) as error:
        msg = f"cannot save the model in {folder}: {error}"
        raise ModelError(msg) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        _remove_if_empty(staging.parent)


def _open(folder: Path) -> tuple[GPT2, StoredTensors, StoredTensor | None]:
    """Return a model without numbers, those that belong into it, and the repeated head if any."""
    config = ModelConfig.from_folder(folder)
    with torch.device("meta"):
        model = GPT2(config)
    path, tensors = open_checkpoint(folder)
    stored = _by_module_name(tensors, path)
    head = stored.pop(HEAD, None)
    _check(stored, dict(model.named_parameters()), path)
    return model, stored, head


def _write(model: GPT2, vocabulary_from: Path, folder: Path, dtype: torch.dtype) -> None:
    encoder, merges = find_vocabulary(vocabulary_from)
    eot = read_vocabulary(encoder, merges).eot
    shutil.copyfile(encoder, folder / "vocab.json")
    shutil.copyfile(merges, folder / "merges.txt")
    tensors = {}
    for name, tensor in model.state_dict().items():
        stored = tensor.t() if name.endswith(CONV1D) else tensor
        tensors[PREFIX + name] = stored.to("cpu", dtype).contiguous()
    save_file(tensors, folder / SAFETENSORS_NAME, metadata={"format": "pt"})
    # safetensors keeps the file to its owner, and a container serves it as another user.
    (folder / SAFETENSORS_NAME).chmod(READABLE)
    fields = json.dumps(model.config.to_hugging_face(end_of_text=eot), indent=2)
    (folder / "config.json").write_text(fields + "\n", encoding="utf-8")


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _version(folder: Path) -> tuple[int, int]:
    path = find_config(folder)
    with reading(path):
        stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns


def _by_module_name(tensors: StoredTensors, path: Path) -> StoredTensors:
    stored: StoredTensors = {}
    for stored_name, tensor in tensors.items():
        name = stored_name.removeprefix(PREFIX)
        if name.endswith(MASK_BUFFERS):
            continue
        if name in stored:
            msg = f"{path} holds {name} twice, with and without the prefix {PREFIX!r}"
            raise ModelError(msg)
        stored[name] = tensor
    return stored


def _check(stored: StoredTensors, wanted: dict[str, Tensor], path: Path) -> None:
    missing = sorted(wanted.keys() - stored.keys())
    extra = sorted(stored.keys() - wanted.keys())
    if missing or extra:
        said = [f"lacks {_first_of(missing)}"] if missing else []
        said += [f"holds the unknown {_first_of(extra)}"] if extra else []
        msg = f"{path} {' and '.join(said)} ({len(missing)} missing, {len(extra)} extra in all)"
        raise ModelError(msg)
    for name, tensor in stored.items():
        _check_shape(name, tensor, tuple(wanted[name].shape))


def _first_of(names: list[str]) -> str:
    # Names in a file may be of any length.
    return ", ".join(f"{name:.80}" for name in names[:3])


def _check_shape(name: str, tensor: StoredTensor, in_module: tuple[int, ...]) -> None:
    want = in_module[::-1] if name.endswith(CONV1D) else in_module
    if tensor.shape != want:
        have = f"{tensor.shape!s:.80}"
        msg = f"{tensor.path}: {name} has the shape {have}, config.json asks for {want}"
        raise ModelError(msg)


def _check_tied(head: StoredTensor, embeddings: StoredTensor) -> None:
    _check_shape(HEAD, head, embeddings.shape)
    weight = embeddings.read()
    if not torch.equal(head.read().to(weight.dtype), weight):
        msg = f"{head.path}: {HEAD} differs from {EMBEDDINGS}, and GPT-2's head is tied"
        raise ModelError(msg)


def _read(name: str, stored: StoredTensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    tensor = stored.read()
    if not tensor.is_floating_point():
        msg = f"{stored.path}: {name} holds {tensor.dtype}, and weights are floating-point numbers"
        raise ModelError(msg)
    # A copy, so that nothing that happens to the file later reaches a model that runs.
    tensor = tensor.to(device, dtype, copy=True)
    return tensor.t() if name.endswith(CONV1D) else tensor
