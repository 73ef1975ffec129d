"""OpenAI's checkpoint: what TensorFlow wrote is read to the bit, what it can't be is refused."""

import json
import re
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.checkpoints.crc32c import masked_crc32c
from engine.checkpoints.opening import open_checkpoint
from engine.config import ModelConfig
from engine.errors import ModelError
from engine.loading import find_model
from engine.weights import load_model
from tests.engine.checkpoints.support import IN_THREE_FILES, OPENAI, message, read_all, table
from tests.engine.data.make_tensorflow_checkpoint import HPARAMS, values
from tests.engine.models import CPU, random_ids

WTE = np.arange(12, dtype=np.float32).reshape(4, 3)
HEADER = (b"", message((1, 1), (3, message((1, 1)))))
Fields = dict[int, int | bytes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OPENAI, tmp_path / "openai"))


def dims(*lengths: int) -> bytes:
    return message(*((2, message((1, length))) for length in lengths))


def write(folder: Path, changed: Fields, *, data: bytes = WTE.tobytes()) -> None:
    """Write a checkpoint of one variable, with fields of its entry changed."""
    folder.mkdir(exist_ok=True)
    crc = masked_crc32c(np.frombuffer(data[-WTE.nbytes :], np.uint8))
    fields: Fields = {1: 1, 2: dims(4, 3), 3: 0, 4: 0, 5: WTE.nbytes}
    fields |= changed
    entry = message(*fields.items()) + b"\x35" + crc.to_bytes(4, "little")
    (folder / "model.ckpt.index").write_bytes(table([HEADER, (b"model/wte", entry)]))
    (folder / "model.ckpt.data-00000-of-00001").write_bytes(data)


def assert_same_numbers(found: dict[str, Tensor]) -> None:
    wanted = values()
    assert len(found) == len(wanted)
    for layer in range(2):
        stored = wanted[f"model/h{layer}/mlp/c_fc/w"][0]
        assert torch.equal(found[f"h.{layer}.mlp.c_fc.weight"].float(), torch.from_numpy(stored))
        bias = wanted[f"model/h{layer}/attn/c_proj/b"]
        assert torch.equal(found[f"h.{layer}.attn.c_proj.bias"].float(), torch.from_numpy(bias))
        gain = wanted[f"model/h{layer}/ln_2/g"]
        assert torch.equal(found[f"h.{layer}.ln_2.weight"].float(), torch.from_numpy(gain))
    assert torch.equal(found["wte.weight"].float(), torch.from_numpy(wanted["model/wte"]))
    assert torch.equal(found["wpe.weight"].float(), torch.from_numpy(wanted["model/wpe"]))
    assert torch.equal(found["ln_f.bias"].float(), torch.from_numpy(wanted["model/ln_f/b"]))


def test_what_tensorflow_wrote_is_read():
    found = read_all(OPENAI)
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    assert_same_numbers(found)


def test_half_precision_in_several_files_is_read():
    found = read_all(IN_THREE_FILES)
    assert {tensor.dtype for tensor in found.values()} == {torch.float16}
    assert_same_numbers(found)


def for_transformers(name: str) -> str:
    name = re.sub(r"^model/h(\d+)/", r"transformer.h.\1.", name)
    name = re.sub(r"^model/", "transformer.", name).replace("/", ".")
    name = re.sub(r"\.(wte|wpe)$", r".\1.weight", name)
    return re.sub(r"\.b$", ".bias", re.sub(r"\.[gw]$", ".weight", name))


@pytest.mark.parametrize("source", [OPENAI, IN_THREE_FILES], ids=lambda path: str(path.name))
def test_the_loaded_model_gives_the_logits_of_transformers(source: Path, transformers: ModuleType):
    config = transformers.GPT2Config(**ModelConfig(**HPARAMS).to_hugging_face())
    peer = transformers.GPT2LMHeadModel(config).eval()
    state = {
        for_transformers(name): torch.from_numpy(value[0] if value.ndim == 3 else value)
        for name, value in values().items()
    }
    lacking, unknown = peer.load_state_dict(state, strict=False)
    assert (lacking, unknown) == (["lm_head.weight"], [])  # which is tied
    ids = random_ids(2, 20, n_vocab=HPARAMS["n_vocab"])
    model = load_model(source, device=CPU, dtype=torch.float32)
    with torch.no_grad():
        ours, theirs = model.logits(model(ids)), peer(ids).logits
    assert theirs.std() > 0.1
    assert (ours - theirs).abs().max() < 1e-4


def test_the_folder_is_found_by_its_hparams(folder: Path):
    assert find_model("openai", folder.parent) == folder


def test_a_folder_that_was_moved_is_read(folder: Path):
    # Training notes an absolute path.
    (folder / "checkpoint").write_text(
        'model_checkpoint_path: "/home/me/run1/model.ckpt"\n', encoding="utf-8"
    )
    assert_same_numbers(read_all(folder))


def test_the_checkpoint_file_chooses_among_several(folder: Path):
    for file in IN_THREE_FILES.glob("model-1000.*"):
        shutil.copy(file, folder)
    assert read_all(folder)["wte.weight"].dtype == torch.float32
    (folder / "checkpoint").write_text('model_checkpoint_path: "model-1000"\n', encoding="utf-8")
    assert read_all(folder)["wte.weight"].dtype == torch.float16
    (folder / "checkpoint").unlink()
    with pytest.raises(ModelError, match="holds 2 checkpoints of TensorFlow and no file checkpo"):
        read_all(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('model_checkpoint_path: "model-7"', r"names model-7, and model-7\.index is missing"),
        ('model_checkpoint_path: "../../etc/x"', r"names x, and x\.index is missing"),
        ('model_checkpoint_path: "/"', r"names , and \.index is missing"),
        ("nothing", "names no model_checkpoint_path"),
        ("", "names no model_checkpoint_path"),
    ],
)
def test_a_checkpoint_file_that_names_none_is_refused(folder: Path, content: str, said: str):
    (folder / "checkpoint").write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=rf"cannot read .*checkpoint: it {said}"):
        read_all(folder)


def test_a_missing_data_file_is_named(folder: Path):
    (folder / "model.ckpt.data-00000-of-00001").unlink()
    with pytest.raises(ModelError, match=r"cannot read .*data-00000-of-00001: .*No such file"):
        read_all(folder)


@pytest.mark.parametrize("keep_bytes", [0, 1, 20000, -1])
def test_a_truncated_data_file_is_refused(folder: Path, keep_bytes: int):
    path = folder / "model.ckpt.data-00000-of-00001"
    path.write_bytes(path.read_bytes()[:keep_bytes])
    with pytest.raises(ModelError, match=r"data-00000-of-00001: .* should end at .* file ends at"):
        read_all(folder)


def test_a_changed_number_is_found_by_the_checksum(folder: Path):
    path = folder / "model.ckpt.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[12345] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"the checksum of model/h.* is wrong"):
        read_all(folder)


def test_a_variable_that_is_none_of_gpt2s_is_named(folder: Path, tmp_path: Path):
    write(tmp_path / "one", {})
    for file in (tmp_path / "one").iterdir():
        shutil.copy(file, folder)
    with pytest.raises(ModelError, match=r"lacks h\.0\..*27 missing, 0 extra"):
        load_model(folder, device=CPU, dtype=torch.float32)


def test_a_wrong_shape_is_told_with_both(folder: Path):
    hparams = folder / "hparams.json"
    hparams.write_text(json.dumps(HPARAMS | {"n_ctx": 33}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"wpe.* has the shape \(32, 16\), .* asks for \(33, 16\)"):
        load_model(folder, device=CPU, dtype=torch.float32)


def test_one_variable_is_read_as_it_was_written(tmp_path: Path):
    write(tmp_path, {})
    assert torch.equal(read_all(tmp_path)["wte.weight"], torch.from_numpy(WTE))


def test_a_tensor_may_begin_at_an_odd_byte(tmp_path: Path):
    write(tmp_path, {4: 1}, data=b"x" + WTE.tobytes())
    assert torch.equal(read_all(tmp_path)["wte.weight"], torch.from_numpy(WTE))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({2: dims(4, -3)}, "has 2 dimensions, or one below 0"),
        ({2: dims(*[1] * 9)}, "has 9 dimensions, or one below 0"),
        ({2: dims(2**62, 2**62)}, "is said to take 48 bytes"),
        ({2: dims(4, 4)}, r"model/wte of shape \(4, 4\) is said to take 48 bytes"),
        ({5: 47}, "is said to take 47 bytes"),
        ({4: 1}, "should end at 49, and the file ends at 48"),
        ({4: -1}, "should end at 18446744073709551663"),
        ({2: dims(2**40), 5: 2**42}, "should end at 4398046511104, and the file ends at 48"),
        ({3: 1}, "is in data file 1 of 1"),
        ({3: -1}, "is in data file 18446744073709551615 of 1"),
        ({7: b""}, "is stored in slices"),
        ({1: 9}, "holds TensorFlow's type 9, and weights are floats"),
        ({1: b"x"}, "field 1 in it should be a number"),
        ({2: 7}, "a number in it should be a message"),
        ({2: b"\xff"}, "a number in it does not end"),
    ],
    ids=str,
)
def test_an_entry_that_cannot_be_is_refused(tmp_path: Path, changed: Fields, said: str):
    write(tmp_path, changed)
    with pytest.raises(ModelError, match=rf"cannot read {tmp_path}/model\.ckpt.*{said}"):
        read_all(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["model/h0/ln_1/w", "model/h00/ln_1/g", "model/ln_f/g/Adam", "global_step", "model/wte/w"],
)
def test_a_name_that_openai_does_not_use_stays_as_it_is(tmp_path: Path, name: str):
    usual = message((1, 1), (2, dims(4)), (5, 16), (6, 0))
    other = message((1, 1), (2, dims(4)), (4, 16), (5, 16), (6, 0))
    rows = sorted([(b"model/h0/ln_1/g", usual), (name.encode(), other)])
    (tmp_path / "a.index").write_bytes(table([HEADER, *rows]))
    (tmp_path / "a.data-00000-of-00001").write_bytes(bytes(32))
    assert open_checkpoint(tmp_path).tensors.keys() == {"h.0.ln_1.weight", name}


def test_tensors_that_overlap_are_refused(tmp_path: Path):
    entry = message((1, 1), (2, dims(4)), (5, 16))
    later = message((1, 1), (2, dims(4)), (4, 12), (5, 16))
    rows = [HEADER, (b"model/wpe", entry), (b"model/wte", later)]
    (tmp_path / "a.index").write_bytes(table(rows))
    (tmp_path / "a.data-00000-of-00001").write_bytes(bytes(64))
    with pytest.raises(ModelError, match="model/wte begins at 12, inside of the tensor before it"):
        read_all(tmp_path)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (message((1, 0)), "claims 0 data files"),
        (b"", "claims 0 data files"),
        (message((1, 10**9)), "claims 1000000000 data files"),
        (message((1, 1), (2, 1)), "its numbers are big-endian"),
        (message((1, 1), (3, message((2, 9)))), "in version 9 of the format"),
    ],
)
def test_a_header_of_another_kind_is_refused(tmp_path: Path, header: bytes, said: str):
    (tmp_path / "a.index").write_bytes(table([(b"", header)]))
    with pytest.raises(ModelError, match=rf"cannot read .*a\.index: .*{said}"):
        read_all(tmp_path)


def test_an_index_of_absurd_size_is_not_read(tmp_path: Path):
    with (tmp_path / "a.index").open("wb") as file:
        file.truncate(2**40)  # a sparse file: it takes no room
    with pytest.raises(ModelError, match="it has 1099511627776 bytes, and at most"):
        read_all(tmp_path)
