"""Replacing a model folder: one stroke where the system has it, and never two models mixed."""

import itertools
import threading
from pathlib import Path

import pytest

from engine.checkpoints import replacing
from engine.checkpoints.replacing import replace_model

OF_OLD = (
    *("config.json", "hparams.json", "encoder.json", "vocab.bpe", "tokenizer.json"),
    *("model-00001-of-00002.safetensors", "model.safetensors.index.json", "pytorch_model.bin"),
    *("checkpoint", "model.ckpt.index", "model.ckpt.meta", "model.ckpt.data-00000-of-00001"),
)
OF_NEW = ("config.json", "merges.txt", "model.safetensors", "vocab.json")
OF_NO_MODEL = (".train/checkpoint.pt", ".train/model.safetensors", "README.md", "losses.csv")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "model", "old", (*OF_OLD, *OF_NO_MODEL))


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return write(tmp_path / "new", "new", OF_NEW)


@pytest.fixture(params=["swapped", "file by file"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Also the way that systems take which cannot swap folders."""
    way: str = request.param
    if way == "file by file":
        monkeypatch.setattr(replacing, "_exchange", refuse)
    return way


def refuse(*_: object, **__: object) -> None:
    raise OSError(22, "Invalid argument")


def write(folder: Path, content: str, names: tuple[str, ...]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def read(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_new_model_and_all_that_is_no_model_are_in_the_folder(
    folder: Path, new: Path, way: str
):
    replace_model(new, folder)
    wanted = dict.fromkeys(OF_NEW, "new") | dict.fromkeys(OF_NO_MODEL, "old")
    assert read(folder) == wanted
    assert not new.exists()


def test_a_folder_that_is_not_there_is_made(tmp_path: Path, new: Path, way: str):
    replace_model(new, tmp_path / "first")
    assert read(tmp_path / "first") == dict.fromkeys(OF_NEW, "new")
    assert not new.exists()


def test_this_system_can_swap(tmp_path: Path):
    one, other = write(tmp_path / "1", "one", ("a",)), write(tmp_path / "2", "other", ("b",))
    replacing._exchange(one, other)
    assert read(one) == {"b": "other"}
    assert read(other) == {"a": "one"}


def test_a_file_that_is_still_written_goes_on_in_its_place(folder: Path, new: Path, way: str):
    with (folder / "losses.csv").open("a", encoding="utf-8") as losses:
        replace_model(new, folder)
        losses.write(", and more")
    assert (folder / "losses.csv").read_text(encoding="utf-8") == "old, and more"


def test_what_cannot_be_linked_is_copied(folder: Path, new: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.link", refuse)
    replace_model(new, folder)
    assert read(folder).keys() == {*OF_NEW, *OF_NO_MODEL}


def test_a_save_that_is_killed_before_the_swap_leaves_the_old_model(
    folder: Path, new: Path, monkeypatch: pytest.MonkeyPatch
):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    before = read(folder)
    monkeypatch.setattr(replacing, "_exchange", killed)
    with pytest.raises(KeyboardInterrupt):
        replace_model(new, folder)
    assert read(folder) == before


def test_the_config_goes_first_and_comes_last_when_files_change_one_by_one(
    folder: Path, new: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[set[str]] = []

    def looking(change: str) -> None:
        before = getattr(Path, change)

        def changed(self: Path, *args: object, **kwargs: object) -> object:
            result = before(self, *args, **kwargs)
            seen.append({path.name for path in folder.iterdir()})
            return result

        monkeypatch.setattr(Path, change, changed)

    monkeypatch.setattr(replacing, "_exchange", refuse)
    looking("unlink")
    looking("replace")
    replace_model(new, folder)
    configured = [names for names in seen if names & {"config.json", "hparams.json"}]
    assert configured == [seen[0], seen[-1]]
    assert "config.json" not in seen[0]  # only hparams.json is left, for a moment
    assert seen[-1] >= set(OF_NEW)


def test_a_reader_finds_a_whole_model_at_every_moment(tmp_path: Path):
    folder = write(tmp_path / "model", "0", OF_NEW)
    seen: list[tuple[str, str, str]] = []
    missed: list[OSError] = []
    is_done = threading.Event()

    def look() -> None:
        names = ("config.json", "model.safetensors", "config.json")
        while not is_done.is_set():
            try:
                first, weights, last = [(folder / name).read_text("utf-8") for name in names]
                seen.append((first, weights, last))
            except OSError as error:
                missed.append(error)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        # A loaded machine lets the reader look but now and then.
        for step in itertools.count(1):
            replace_model(write(tmp_path / "new", str(step), OF_NEW), folder)
            if missed or (step >= 40 and len({first for first, _, _ in seen}) >= 5):
                break
    finally:
        is_done.set()
        reader.join()
    assert not missed
    assert all(weights == first for first, weights, last in seen if first == last)
