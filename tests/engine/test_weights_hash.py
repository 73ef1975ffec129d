"""The weights' hash: one for the same numbers in any file, another for any other number."""

from pathlib import Path
from typing import Final

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.errors import ModelError
from engine.loading import load_engine
from engine.weights import hash_weights, save_model
from tests.engine.checkpoints.folders import KINDS, Kind, write_folder
from tests.engine.models import CPU, make_model


@pytest.fixture(scope="module")
def of_openai(tmp_path_factory: pytest.TempPathFactory) -> str:
    return hash_weights(write_folder("openai", tmp_path_factory.mktemp("release") / "model"))


IN_HALF_PRECISION: Final = "openai in three files"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != IN_HALF_PRECISION])
def test_a_release_has_one_hash_in_every_format(kind: Kind, of_openai: str, tmp_path: Path):
    assert hash_weights(write_folder(kind, tmp_path / "model")) == of_openai


@pytest.fixture
def file(vocabulary: Path, tmp_path: Path) -> Path:
    save_model(make_model(), vocabulary, tmp_path / "tiny", dtype=torch.float32)
    return tmp_path / "tiny" / "model.safetensors"


def test_one_other_number_gives_another_hash(file: Path):
    before = hash_weights(file.parent)
    tensors = load_file(file)
    tensors["transformer.ln_f.bias"][3] += 1e-6
    save_file(tensors, file)
    assert hash_weights(file.parent) != before


def test_two_tensors_that_change_places_give_another_hash(file: Path):
    before = hash_weights(file.parent)
    tensors = load_file(file)
    one, other = "transformer.h.0.ln_1.weight", "transformer.h.0.ln_2.weight"
    tensors[one], tensors[other] = tensors[other], tensors[one]
    save_file(tensors, file)
    assert hash_weights(file.parent) != before


def test_names_without_a_prefix_and_a_repeated_head_change_nothing(file: Path):
    before = hash_weights(file.parent)
    tensors = {name.removeprefix("transformer."): t for name, t in load_file(file).items()}
    save_file(tensors | {"lm_head.weight": tensors["wte.weight"].clone()}, file)
    assert hash_weights(file.parent) == before


def test_the_same_numbers_in_other_precision_give_another_hash(of_openai: str, tmp_path: Path):
    assert hash_weights(write_folder(IN_HALF_PRECISION, tmp_path / "model")) != of_openai


def test_what_is_loaded_is_what_is_hashed(file: Path):
    engine, _ = load_engine(file.parent, CPU, num_slots=1, prefill_tokens=8, max_waiting=1)
    assert engine.maker
    assert engine.maker.weights == hash_weights(file.parent)


def test_a_damaged_file_is_one_sentence(file: Path):
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ModelError, match="cannot read"):
        hash_weights(file.parent)
