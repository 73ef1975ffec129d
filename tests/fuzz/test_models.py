"""The door of model folders: every format that is read, with anything changed in it.

It ends with a model that writes, or with one sentence, at its first token at the latest; in time,
and without memory for what a file merely claims to hold.
"""

import contextlib
import io
import json
import resource
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from safetensors.torch import load

from codec.vocabulary import VocabularyError
from engine.config import ModelConfig
from engine.errors import EngineError
from engine.loading import load_engine
from engine.weights import load_model, save_model
from tests.engine.checkpoints.folders import KINDS, write_folder
from tests.engine.checkpoints.test_damage import DAMAGE, Damage, with_damaged_index
from tests.engine.models import CPU, make_model
from tests.engine.support import N_VOCAB, make_params, write_vocabulary
from tests.fuzz.door import UNHURRIED, Door, Try
from tests.fuzz.json_cases import ANY_JSON, NUMBERS, change_json
from tests.threads import num_threads

SHAPE = ModelConfig(n_layer=1, n_head=1, n_embd=8, n_vocab=N_VOCAB, n_ctx=16)
MAX_GROWTH_KIB = 256 * 1024
MAX_SENTENCE_CHARS = 1000
WHOLE = ("whole safetensors", "whole pytorch")
"""With a vocabulary, so that they can write."""
Files = dict[str, bytes]


class JsonChange(NamedTuple):
    """Values are changed in a JSON file, or in the header of a safetensors file."""

    file: int
    changes: list[tuple[int, Any]]

    def done_to(self, files: Files) -> Files:
        """Return the files with it."""
        names = [name for name in sorted(files) if name.endswith((".json", ".safetensors"))]
        if not names:
            return files
        name = names[self.file % len(names)]
        return files | {name: _with_json(files[name], self._changed)}

    def _changed(self, value: Any) -> Any:
        return change_json(value, self.changes)


class Repacked(NamedTuple):
    """The entries of a zip file are changed, with right checksums, and packed or not."""

    file: int
    damages: list[Damage]
    is_packed: bool

    def done_to(self, files: Files) -> Files:
        """Return the files with it."""
        names = [name for name in sorted(files) if files[name].startswith(b"PK")]
        if not names:
            return files
        name = names[self.file % len(names)]
        packed = io.BytesIO()
        how = zipfile.ZIP_DEFLATED if self.is_packed else zipfile.ZIP_STORED
        with zipfile.ZipFile(io.BytesIO(files[name])) as old, zipfile.ZipFile(packed, "w") as new:
            entries = old.infolist()
            contents = [old.read(entry) for entry in entries]
            for damage in self.damages:
                at = damage.file % len(contents)
                contents[at] = damage.done_to(contents[at])
            for entry, content in zip(entries, contents, strict=True):
                new.writestr(entry.filename, content, how)
        return files | {name: packed.getvalue()}


class Broken(NamedTuple):
    """Bytes are changed in any file."""

    damage: Damage

    def done_to(self, files: Files) -> Files:
        """Return the files with it."""
        name = sorted(files)[self.damage.file % len(files)]
        return files | {name: self.damage.done_to(files[name])}


def _with_json(content: bytes, change: Callable[[Any], Any]) -> bytes:
    if content.startswith(b"{"):
        return json.dumps(change(json.loads(content))).encode()
    header_bytes = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + header_bytes])
    except ValueError:
        return content
    changed = json.dumps(change(header)).encode()
    return len(changed).to_bytes(8, "little") + changed + content[8 + header_bytes :]


telling = st.sampled_from(
    (10**12, 2**31, 2**63, -1, 0, 1, [10**12], [0], [2**40, 2**40], "F64", "I8", "gpt2", 0.5)
)
values = st.one_of(telling, NUMBERS, ANY_JSON)
changes = st.one_of(
    st.builds(
        JsonChange,
        st.integers(0, 9),
        st.lists(st.tuples(st.integers(0, 999), values), min_size=1, max_size=3),
    ),
    st.builds(Repacked, st.integers(0, 9), st.lists(DAMAGE, max_size=2), st.booleans()),
    st.builds(Broken, DAMAGE),
)
CASES = st.tuples(
    st.sampled_from((*WHOLE, *WHOLE, *KINDS, "damaged index")),
    st.lists(changes, min_size=1, max_size=2),
)


def _files_of(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _wholes() -> Iterator[tuple[str, Files]]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for kind in KINDS:
            yield kind, _files_of(write_folder(kind, folder / kind))
        vocabulary = folder / "vocabulary"
        vocabulary.mkdir()
        write_vocabulary(vocabulary)
        save_model(make_model(SHAPE), vocabulary, folder / WHOLE[0], dtype=torch.float32)
        files = _files_of(folder / WHOLE[0])
        yield WHOLE[0], files
        weights = io.BytesIO()
        torch.save(load(files["model.safetensors"]), weights)
        others = {name: files[name] for name in files if name != "model.safetensors"}
        yield WHOLE[1], others | {"pytorch_model.bin": weights.getvalue()}


def _load(folder: Path) -> None:
    if not (folder / "vocab.json").exists():
        load_model(folder, device=CPU, dtype=torch.float32)
        return
    engine, _ = load_engine(folder, CPU, num_slots=1, prefill_tokens=16, max_waiting=1)
    engine.add([0], make_params(max_tokens=2))
    while engine.has_work:
        engine.step()
    assert engine.tokenizer.decode(engine.tokenizer.encode("né 🤖")) == "né 🤖"


class _Loader:
    """Loads folders that a case has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._wholes = dict(_wholes())
        for kind, files in self._wholes.items():
            assert (said := self._said_of(files)) == "", f"{kind}: {said}"

    async def attempt(self, case: tuple[str, list[Any]]) -> None:
        """Load one."""
        kind, changes = case
        if kind == "damaged index":
            files = with_damaged_index([each.damage for each in changes if type(each) is Broken])
        else:
            files = self._wholes[kind]
            for change in changes:
                # What is broken already takes no finer change.
                with contextlib.suppress(ValueError, zipfile.BadZipFile, EOFError):
                    files = change.done_to(files)
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        said = self._said_of(files)
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
        assert "\n" not in said
        assert len(said) < MAX_SENTENCE_CHARS
        assert grown_kib < MAX_GROWTH_KIB

    def _said_of(self, files: Files) -> str:
        for path in self._folder.iterdir():
            path.unlink()
        for name, content in files.items():
            (self._folder / name).write_bytes(content)
        try:
            _load(self._folder)
        except (EngineError, VocabularyError, FloatingPointError) as error:
            return str(error)
        return ""


@asynccontextmanager
async def _opened() -> AsyncIterator[Try]:
    with num_threads(1), tempfile.TemporaryDirectory() as folder:
        yield _Loader(Path(folder)).attempt


ONCE_FAILED = (
    # A sentence quoted a name with all its line breaks.
    ("whole pytorch", [JsonChange(file=6, changes=[(666, "a\nb\u2028c")])]),
    # A sentence quoted a line of any length.
    (WHOLE[0], [Broken(Damage(file=1, place=-1, num_lost=0, put_in=b"[" * 2000))]),
    # A weight that is no number ended the step loop.
    (WHOLE[0], [Broken(Damage(file=2, place=-5, num_lost=4, put_in=b"\0\0\xc0\x7f"))]),
)
DOOR = Door("models", CASES, _opened, ONCE_FAILED)


@UNHURRIED
def test_whatever_is_in_a_model_folder_it_loads_or_one_sentence_says_why_not():
    DOOR.try_cases()
