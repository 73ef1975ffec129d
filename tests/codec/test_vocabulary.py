"""Vocabulary files: both naming schemes are read, and whatever is wrong is told by file name."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from codec.bpe import Tokenizer
from codec.vocabulary import END_OF_TEXT, VocabularyError, byte_alphabet

MERGES = ["h e", "l l", "he ll", "hell o"]
Change = Callable[[dict[str, object]], object]


def write_vocabulary(
    folder: Path, *, names: tuple[str, str] = ("vocab.json", "merges.txt")
) -> None:
    tokens = [*byte_alphabet(), *(merge.replace(" ", "") for merge in MERGES), END_OF_TEXT]
    table = {token: token_id for token_id, token in enumerate(tokens)}
    (folder / names[0]).write_text(json.dumps(table), encoding="utf-8")
    lines = ["#version: 0.2", *MERGES, ""]
    (folder / names[1]).write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_vocabulary(tmp_path)
    return tmp_path


def change_table(folder: Path, change: Change) -> None:
    path = folder / "vocab.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    change(table)
    path.write_text(json.dumps(table), encoding="utf-8")


@pytest.mark.parametrize("names", [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")])
def test_a_vocabulary_is_read_under_either_pair_of_names(tmp_path: Path, names: tuple[str, str]):
    write_vocabulary(tmp_path, names=names)
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.encode("hello he") == [259, 220, 256]
    assert (tokenizer.n_vocab, tokenizer.eot) == (261, 260)


def test_merges_with_windows_line_ends_and_no_version_line_are_read(folder: Path):
    (folder / "merges.txt").write_bytes("\r\n".join(MERGES).encode())
    assert Tokenizer.from_folder(folder).encode("hello") == [259]


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_a_missing_file_is_named_with_its_folder(folder: Path, name: str):
    (folder / name).unlink()
    with pytest.raises(VocabularyError, match=f"{folder}.*{name} is missing"):
        Tokenizer.from_folder(folder)


def test_a_path_to_nothing_is_named(folder: Path):
    with pytest.raises(VocabularyError, match=r"cannot read the token table in .*gone\.json"):
        Tokenizer.from_files(folder / "gone.json", folder / "merges.txt")
    with pytest.raises(VocabularyError, match=r"cannot read the merges in .*gone\.bpe"):
        Tokenizer.from_files(folder / "vocab.json", folder / "gone.bpe")


@pytest.mark.parametrize(
    "content", [b"{", b"", b"\xff\xfe", b'{"a": 1', b"[" * 10**5], ids=lambda value: repr(value[:9])
)
def test_a_damaged_token_table_is_named(folder: Path, content: bytes):
    (folder / "vocab.json").write_bytes(content)
    with pytest.raises(VocabularyError, match=r"cannot read the token table in .*vocab\.json"):
        Tokenizer.from_folder(folder)


def test_merges_that_are_no_text_are_named(folder: Path):
    (folder / "merges.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(VocabularyError, match=r"cannot read the merges in .*merges\.txt"):
        Tokenizer.from_folder(folder)


@pytest.mark.parametrize("content", ["[]", "3", '{"a": "1"}', '{"a": 1.5}', '{"a": true}', "{}"])
def test_a_table_of_something_else_is_refused_by_file_name(folder: Path, content: str):
    (folder / "vocab.json").write_text(content, encoding="utf-8")
    with pytest.raises(VocabularyError, match=r"vocab\.json is not a table of tokens"):
        Tokenizer.from_folder(folder)


def test_merges_of_another_vocabulary_are_refused_with_the_line(folder: Path):
    with (folder / "merges.txt").open("a", encoding="utf-8") as file:
        file.write("w o\n")
    with pytest.raises(VocabularyError, match=r"merges\.txt: the merge 'w o' needs the token 'wo'"):
        Tokenizer.from_folder(folder)


@pytest.mark.parametrize("line", ["hello", "he", "xyz zyx"])
def test_a_line_that_is_no_merge_is_refused_with_the_line(folder: Path, line: str):
    with (folder / "merges.txt").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    with pytest.raises(VocabularyError, match=rf"merges\.txt: the merge '{line}' needs the token"):
        Tokenizer.from_folder(folder)


def test_a_merge_that_would_make_end_of_text_of_ordinary_text_is_refused(folder: Path):
    change_table(folder, lambda table: table.update({"<|endoftext": 261, "|>": 262}))
    with (folder / "merges.txt").open("a", encoding="utf-8") as file:
        file.write("<|endoftext |>\n")
    with pytest.raises(VocabularyError, match=r"merges\.txt: the merge '<\|endoftext \|>' would"):
        Tokenizer.from_folder(folder)


def test_a_table_without_some_byte_is_refused_with_the_byte(folder: Path):
    change_table(folder, lambda table: table.pop("Ġ"))
    with pytest.raises(VocabularyError, match=r"vocab\.json has no token for the byte .*'Ġ'"):
        Tokenizer.from_folder(folder)


def test_a_table_without_end_of_text_is_refused(folder: Path):
    change_table(folder, lambda table: table.pop(END_OF_TEXT))
    with pytest.raises(VocabularyError, match=r"vocab\.json has no token <\|endoftext\|>"):
        Tokenizer.from_folder(folder)


@pytest.mark.parametrize("token_id", [0, -1, 10**9], ids=["taken", "negative", "far-off"])
def test_an_id_given_twice_or_out_of_range_is_refused(folder: Path, token_id: int):
    change_table(folder, lambda table: table.update(hello=token_id))
    with pytest.raises(VocabularyError, match=r"vocab\.json gives an id twice, a negative one"):
        Tokenizer.from_folder(folder)


def test_a_token_of_characters_that_stand_for_no_byte_is_refused(folder: Path):
    change_table(folder, lambda table: table.update({"日": 261}))
    with pytest.raises(VocabularyError, match=r"vocab\.json: token '日' holds '日'"):
        Tokenizer.from_folder(folder)
