"""One model, written in each format that is read, as the library of that format writes it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.engine.checkpoints.support import IN_THREE_FILES, OPENAI, read_all
from tests.engine.data.make_tensorflow_checkpoint import HPARAMS

Kind = Literal[
    "safetensors",
    "sharded safetensors",
    "pytorch",
    "old pytorch",
    "sharded pytorch",
    "openai",
    "openai in three files",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
Save = Callable[[dict[str, Tensor], Path], None]


def _save_new(tensors: dict[str, Tensor], path: Path) -> None:
    torch.save(tensors, path)


def _save_old(tensors: dict[str, Tensor], path: Path) -> None:
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


def _write_sharded(folder: Path, save: Save, stem: str, ending: str) -> None:
    tensors = read_all(OPENAI)
    weight_map: dict[str, str] = {}
    for number in (1, 2):
        shard = f"{stem}-{number:05}-of-00002.{ending}"
        held = sorted(tensors)[number - 1 :: 2]
        save({name: tensors[name] for name in held}, folder / shard)
        weight_map |= dict.fromkeys(held, shard)
    index = json.dumps({"metadata": {}, "weight_map": weight_map})
    (folder / f"{stem}.{ending}.index.json").write_text(index, encoding="utf-8")


def write_folder(kind: Kind, folder: Path) -> Path:
    """Write the model of the TensorFlow fixture in another format."""
    if kind == "openai":
        return Path(shutil.copytree(OPENAI, folder))
    if kind == "openai in three files":
        return Path(shutil.copytree(IN_THREE_FILES, folder))
    folder.mkdir(parents=True)
    (folder / "hparams.json").write_text(json.dumps(HPARAMS), encoding="utf-8")
    match kind:
        case "safetensors":
            save_file(read_all(OPENAI), folder / "model.safetensors")
        case "sharded safetensors":
            _write_sharded(folder, save_file, "model", "safetensors")
        case "pytorch":
            _save_new(read_all(OPENAI), folder / "pytorch_model.bin")
        case "old pytorch":
            _save_old(read_all(OPENAI), folder / "pytorch_model.bin")
        case "sharded pytorch":
            _write_sharded(folder, _save_new, "pytorch_model", "bin")
    return folder
