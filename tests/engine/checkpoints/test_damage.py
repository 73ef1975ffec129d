"""Damaged files of every format: a sentence or a model, and nothing else, whatever was changed."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.checkpoints.table import read_table
from engine.errors import ModelError
from engine.weights import load_model
from tests.engine.checkpoints.folders import KINDS, write_folder
from tests.engine.checkpoints.support import OPENAI, block, finish, handle, summed
from tests.engine.models import CPU

EDGE_BYTES = 4096
"""Where the headers, indexes and footers of small files are."""


@dataclass(frozen=True)
class Damage:
    """What is done to one file: bytes at a place are taken out and others put in."""

    file: int
    place: int
    num_lost: int
    put_in: bytes

    def done_to(self, content: bytes) -> bytes:
        place = self.place % (len(content) + 1)
        return content[:place] + self.put_in + content[place + self.num_lost :]


PLACES = st.one_of(
    st.integers(0, 64), st.integers(0, EDGE_BYTES), st.integers(-EDGE_BYTES, -1), st.integers(0)
)
TELLING = st.sampled_from(
    [b"\0", b"\xff", b"\x80", b"\x7f", b"\xff" * 8, b"\0" * 8, b"\xff" * 7 + b"\x7f", b"[" * 999]
)
DAMAGE = st.builds(
    Damage,
    file=st.integers(0, 9),
    place=PLACES,
    num_lost=st.one_of(st.integers(0, 16), st.just(10**9)),
    put_in=st.one_of(TELLING, st.binary(max_size=16)),
)


def load_damaged(files: dict[str, bytes], damages: list[Damage]) -> str:
    """Return what is said about the files, or nothing if they make a model."""
    files = dict(files)
    for damage in damages:
        name = sorted(files)[damage.file % len(files)]
        files[name] = damage.done_to(files[name])
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        try:
            load_model(Path(folder), device=CPU, dtype=torch.float32)
        except ModelError as error:
            return str(error)
    return ""


@pytest.fixture(scope="module", params=KINDS)
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    folder = write_folder(request.param, tmp_path_factory.mktemp("whole") / "model")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_undamaged_files_make_a_model(files: dict[str, bytes]):
    assert load_damaged(files, []) == ""


def with_damaged_index(damages: list[Damage]) -> dict[str, bytes]:
    """Return OpenAI's files with a changed index whose checksum is right again."""
    files = {path.name: path.read_bytes() for path in OPENAI.iterdir()}
    content = block(list(read_table(files["model.ckpt.index"]).items()))
    for damage in damages:
        content = damage.done_to(content)
    listed = [(b"model/wte", handle(0, len(content)))]
    return files | {"model.ckpt.index": finish(summed(content), listed)}


@settings(max_examples=100)
@given(damages=st.lists(DAMAGE, min_size=1, max_size=2))
def test_a_damaged_index_with_a_right_checksum_makes_a_model_or_one_sentence(
    damages: list[Damage],
):
    said = load_damaged(with_damaged_index(damages), [])
    assert "\n" not in said
    assert len(said) < 1000


def test_an_undamaged_index_with_a_new_checksum_makes_a_model():
    assert load_damaged(with_damaged_index([]), []) == ""


@settings(max_examples=60)
@given(damages=st.lists(DAMAGE, min_size=1, max_size=2))
def test_damaged_files_make_a_model_or_one_sentence(files: dict[str, bytes], damages: list[Damage]):
    said = load_damaged(files, damages)
    assert "\n" not in said
    assert len(said) < 1000
