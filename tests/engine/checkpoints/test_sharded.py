"""Index files: the shards beside them are read as one, and no path leads out of the folder."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.errors import ModelError
from tests.engine.checkpoints.support import assert_equal, read_all

INDEX = "model.safetensors.index.json"
STATE = {name: torch.full((2, 3), float(place)) for place, name in enumerate(("a", "b", "c"))}
SHARD_OF = {"a": "one.safetensors", "b": "two.safetensors", "c": "one.safetensors"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for shard in sorted(set(SHARD_OF.values())):
        held = {name: STATE[name] for name, home in SHARD_OF.items() if home == shard}
        save_file(held, folder / shard)
    write_index(folder, SHARD_OF)
    return folder


def write_index(folder: Path, weight_map: object) -> None:
    table = {"metadata": {"total_size": 72}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(table), encoding="utf-8")


def test_shards_are_read_as_one(folder: Path):
    assert_equal(read_all(folder), STATE)


def test_shards_of_torch_save_are_read_as_one(tmp_path: Path):
    for name, tensor in STATE.items():
        torch.save({name: tensor}, tmp_path / f"{name}.bin")
    write_index(tmp_path, {name: f"{name}.bin" for name in STATE})
    (tmp_path / INDEX).rename(tmp_path / "pytorch_model.bin.index.json")
    assert_equal(read_all(tmp_path), STATE)


@pytest.mark.parametrize(
    "shard",
    [
        *("../secret.safetensors", "{outside}", "sub/one.safetensors", "./one.safetensors"),
        *(
            "..",
            ".",
            "",
            "/",
            "C:\\one.safetensors",
            "..\\one.safetensors",
            "one\0",
            "x" * 10**4,
            7,
            None,
            [],
        ),
    ],
    ids=lambda shard: repr(shard)[:30],
)
def test_a_shard_that_is_not_beside_its_index_is_refused(folder: Path, shard: object):
    outside = folder.parent / "secret.safetensors"
    save_file({"a": STATE["a"]}, outside)
    if isinstance(shard, str):
        shard = shard.replace("{outside}", str(outside))
    write_index(folder, {**SHARD_OF, "a": shard})
    with pytest.raises(ModelError, match=r"says that a is in .*, which is no file beside it"):
        read_all(folder)


def test_a_shard_that_is_missing_is_named(folder: Path):
    (folder / "two.safetensors").unlink()
    with pytest.raises(ModelError, match=r"cannot read .*two\.safetensors: .*No such file"):
        read_all(folder)


def test_a_shard_that_is_truncated_is_named(folder: Path):
    path = folder / "two.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"cannot read .*two\.safetensors: "):
        read_all(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"d": "two.safetensors"}, r"says that d is in two\.safetensors, which does not hold it"),
        ({"a": "two.safetensors"}, r"does not list a, which one\.safetensors holds"),
    ],
)
def test_an_index_that_disagrees_with_its_shards_is_refused(
    folder: Path, change: dict[str, str], said: str
):
    write_index(folder, SHARD_OF | change)
    with pytest.raises(ModelError, match=rf"cannot read .*{INDEX}: it {said}"):
        read_all(folder)


def test_a_tensor_that_two_shards_hold_is_refused(folder: Path):
    save_file({"b": STATE["b"], "a": STATE["a"]}, folder / "two.safetensors")
    with pytest.raises(ModelError, match=r"it does not list a, which two\.safetensors holds"):
        read_all(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "Expecting value"),
        ("[]", "it is not a JSON table"),
        ("{}", "it has no table weight_map"),
        ('{"weight_map": {}}', "it has no table weight_map"),
        ('{"weight_map": ["a"]}', "it has no table weight_map"),
        ("[" * 10**5, "it nests too deeply"),
        ('{"a":' * 10**5, "it nests too deeply"),
        (b"\xff\xfe", "can't decode byte"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_damaged_index_is_refused(folder: Path, content: str | bytes, said: str):
    written = content.encode() if isinstance(content, str) else content
    (folder / INDEX).write_bytes(written)
    with pytest.raises(ModelError, match=rf"cannot read .*{INDEX}: .*{said}"):
        read_all(folder)


def test_an_index_of_absurd_size_is_not_read(folder: Path):
    with (folder / INDEX).open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ModelError, match="it has 1099511627776 bytes, and at most"):
        read_all(folder)
