"""Folders in each format hold the same model; the best of several formats is taken."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from engine.checkpoints.opening import open_checkpoint
from engine.errors import ModelError
from engine.weights import load_model
from tests.engine.checkpoints.folders import KINDS, Kind, write_folder
from tests.engine.checkpoints.support import OPENAI
from tests.engine.data.make_tensorflow_checkpoint import HPARAMS
from tests.engine.models import CPU, random_ids

BEST_FIRST: tuple[tuple[Kind, str], ...] = (
    ("safetensors", "model.safetensors"),
    ("sharded safetensors", "model.safetensors.index.json"),
    ("pytorch", "pytorch_model.bin"),
    ("sharded pytorch", "pytorch_model.bin.index.json"),
    ("openai", "model.ckpt.index"),
)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_each_format_gives_the_logits_of_safetensors(kind: Kind, tmp_path: Path):
    ids = random_ids(2, 20, n_vocab=HPARAMS["n_vocab"])
    logits = []
    pair: tuple[Kind, Kind] = ("safetensors", kind)
    for written in pair:
        folder = write_folder(written, tmp_path / written)
        model = load_model(folder, device=CPU, dtype=torch.float32)
        logits.append(model.logits(model(ids)))
    assert torch.equal(*logits)
    assert logits[0].std() > 0.1


def test_the_best_format_in_a_folder_is_taken(tmp_path: Path):
    folder = tmp_path / "all"
    for kind, _ in BEST_FIRST:
        shutil.copytree(write_folder(kind, tmp_path / kind), folder, dirs_exist_ok=True)
    for _, name in BEST_FIRST:
        assert open_checkpoint(folder).path == folder / name
        (folder / name).unlink()
        (folder / "checkpoint").unlink(missing_ok=True)
    with pytest.raises(ModelError, match=rf"{folder} holds no weights: model\.safetensors is miss"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("sharded safetensors", "model-00002-of-00002.safetensors"),
        ("sharded pytorch", "pytorch_model-00002-of-00002.bin"),
        ("openai", "model.ckpt.index"),
        ("openai", "model.ckpt.data-00000-of-00001"),
    ],
)
def test_a_pipe_in_the_place_of_weights_is_not_waited_for(kind: Kind, name: str, tmp_path: Path):
    folder = write_folder(kind, tmp_path / "model")
    assert (folder / name).is_file(), sorted(path.name for path in folder.iterdir())
    (folder / name).unlink()
    (folder / "checkpoint").unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(ModelError, match=rf"cannot read .*{name}: it is no ordinary file"):
        open_checkpoint(folder)


def test_a_header_of_absurd_size_is_not_read(tmp_path: Path):
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write((2**26).to_bytes(8, "little"))
        file.truncate(2**27)
    with pytest.raises(ModelError, match=r"safetensors: its header has 67108864 bytes, and at mo"):
        open_checkpoint(tmp_path)


def test_a_damaged_file_of_the_best_format_is_not_passed_over(tmp_path: Path):
    folder = Path(shutil.copytree(OPENAI, tmp_path / "openai"))
    (folder / "model.safetensors").write_bytes(b"half")
    with pytest.raises(ModelError, match=r"cannot read .*model\.safetensors"):
        open_checkpoint(folder)
