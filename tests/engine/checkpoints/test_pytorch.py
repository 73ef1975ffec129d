"""pytorch_model.bin: what torch.save writes is read, old format or new; nothing else is."""

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.checkpoints.pytorch import read_pytorch
from engine.errors import ModelError
from tests.engine.checkpoints.support import assert_equal


class Evil:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.trace}",)


@pytest.fixture
def state() -> dict[str, Tensor]:
    numbers = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    return OrderedDict(wte=numbers, half=numbers.half().t(), brain=numbers[2:].bfloat16())


def save(state: object, folder: Path, *, new_format: bool = True) -> Path:
    path = folder / "pytorch_model.bin"
    torch.save(state, path, _use_new_zipfile_serialization=new_format)
    return path


def read(path: Path) -> dict[str, Tensor]:
    return {name: stored.read() for name, stored in read_pytorch(path).items()}


def rezip(path: Path, pickled: bytes, *, compression: int = zipfile.ZIP_STORED) -> None:
    """Put another pickle into a file of torch.save."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression=compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, pickled if name.endswith("/data.pkl") else content)


@pytest.mark.parametrize("new_format", [True, False])
def test_what_torch_save_wrote_is_read(state: dict[str, Tensor], tmp_path: Path, new_format: bool):
    assert_equal(read(save(state, tmp_path, new_format=new_format)), state)


@pytest.mark.parametrize("new_format", [True, False])
def test_parameters_and_a_tensor_of_two_names_are_read(tmp_path: Path, new_format: bool):
    weight = torch.nn.Parameter(torch.arange(6.0).view(2, 3))
    path = save({"wte.weight": weight, "lm_head.weight": weight}, tmp_path, new_format=new_format)
    assert_equal(read(path), {"wte.weight": weight.data, "lm_head.weight": weight.data})


@pytest.mark.parametrize("new_format", [True, False])
def test_code_in_it_is_not_run(tmp_path: Path, new_format: bool):
    trace = tmp_path / "ran"
    path = save({"wte.weight": Evil(trace)}, tmp_path, new_format=new_format)
    with pytest.raises(ModelError) as caught:
        read(path)
    said = f"cannot read {path}: it asks for posix.system, and only tensors are read"
    assert str(caught.value) == said
    assert not trace.exists()


def test_a_pickle_without_torchs_frame_is_not_run(tmp_path: Path):
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(pickle.dumps(Evil(tmp_path / "ran"), protocol=2))
    with pytest.raises(ModelError, match=r"asks for posix\.system"):
        read(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ([torch.zeros(2)], "it holds a list and no table of tensors"),
        (torch.zeros(2), "it holds a Tensor and no table of tensors"),
        (
            {"state_dict": {"a": torch.zeros(2)}},
            "holds dict under the name 'state_dict', and no te",
        ),
        ({"n_layer": 12}, "holds int under the name 'n_layer', and no tensor"),
        ({3: torch.zeros(2)}, "holds Tensor under the name 3, and no tensor"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_anything_but_a_table_of_tensors_is_refused(tmp_path: Path, state: object, said: str):
    path = save(state, tmp_path)
    with pytest.raises(ModelError, match=rf"cannot read {path}: it {said.removeprefix('it ')}"):
        read(path)


def test_strides_that_spread_few_numbers_wide_are_refused(tmp_path: Path):
    path = save({"wte.weight": torch.zeros(1).expand(2**20, 2**20)}, tmp_path)
    with pytest.raises(
        ModelError, match=r"its tensors claim 4398046511104 bytes, and the file has"
    ):
        read(path)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_shape_beyond_its_numbers_is_refused(tmp_path: Path, new_format: bool):
    path = save({"wte.weight": torch.zeros(17, 19)}, tmp_path, new_format=new_format)
    path.write_bytes(path.read_bytes().replace(b"K\x11K\x13\x86", b"K\xffK\x13\x86"))
    with pytest.raises(ModelError, match=rf"cannot read {path}: .*"):
        read(path)


def test_a_compressed_file_is_refused_unread(tmp_path: Path):
    path = save({"wte.weight": torch.zeros(2)}, tmp_path)
    rezip(path, bytes(10**8), compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**6
    with pytest.raises(ModelError, match="zip entries are compressed, doubled, or larger than"):
        read(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_file_that_is_no_model_is_refused(tmp_path: Path):
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes/data.txt", "hello")
    with pytest.raises(ModelError, match=r"without the one data\.pkl"):
        read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", "hello")
        archive.writestr("x/data.pkl", "hello")
    with pytest.raises(ModelError, match="doubled"):
        read(path)


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(
    state: dict[str, Tensor], tmp_path: Path, new_format: bool, keep: float
):
    path = save(state, tmp_path, new_format=new_format)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(ModelError, match=rf"cannot read {path}: \S.*"):
        read(path)
