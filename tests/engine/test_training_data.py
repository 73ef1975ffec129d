"""Text to training blocks: what is read, what is set aside, and what every epoch visits."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from codec.bpe import Tokenizer
from engine.errors import InvalidRequestError
from engine.train.data import Corpus, batch, block, build_corpus, num_blocks, read_documents
from tests.engine.support import EOT, byte_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return byte_tokenizer()


def corpus_of(documents: list[str], *, held_out_share: float = 0.2, seed: int = 0) -> Corpus:
    return build_corpus(documents, byte_tokenizer(), held_out_share=held_out_share, seed=seed)


def documents_in(stream: Tensor) -> list[str]:
    """Cut a stream at its end-of-text tokens, which must stand at both ends."""
    text = byte_tokenizer().decode(stream.tolist())
    first, *documents, last = text.split("<|endoftext|>")
    assert (first, last) == ("", "")
    return documents


def test_plain_text_is_split_at_end_of_text(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("\none\nmore\n<|endoftext|>\ntwo<|endoftext|>\n \n", encoding="utf-8")
    assert read_documents(path) == ["one\nmore", "two"]


def test_json_lines_give_a_document_each(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"text": text, "other": 1}) for text in ("one", "two\nlines", "drei")]
    path.write_text("\n\n".join(lines), encoding="utf-8")
    assert read_documents(path) == ["one", "two\nlines", "drei"]


@pytest.mark.parametrize("char", ["\u2028", "\u2029", "\x85", "\x0b"], ids=ascii)
def test_json_lines_may_hold_characters_that_end_lines_elsewhere(tmp_path: Path, char: str):
    path = tmp_path / "a.jsonl"
    documents = [f"one{char}more", "two"]
    # JSON itself ends a line at a line feed only; a vertical tab has to be escaped in it.
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in documents]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert read_documents(path) == documents


def test_a_folder_is_read_whole_and_in_order_and_nothing_else_of_it(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.md").write_text("two", encoding="utf-8")
    (tmp_path / "a.txt").write_text("one", encoding="utf-8")
    (tmp_path / "c.jsonl").write_text('{"text": "three"}\n', encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\xff\x00")
    assert read_documents(tmp_path) == ["one", "three", "two"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bad.txt", b"\xff\xfe"),
        ("bad.jsonl", b'{"text": "one"}\n{"text": '),
        ("bad.jsonl", b'{"txt": "one"}'),
        ("bad.jsonl", b'["one"]'),
        ("bad.jsonl", b'{"text": 1}'),
        ("bad.jsonl", b'"text"'),
    ],
    ids=["no-text", "cut-off", "other-key", "list", "number", "string"],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidRequestError, match=rf"cannot read training text from .*{name}"):
        read_documents(tmp_path)


def test_a_path_to_nothing_is_named(tmp_path: Path):
    with pytest.raises(InvalidRequestError, match=r"cannot read training text from .*gone\.txt"):
        read_documents(tmp_path / "gone.txt")


@pytest.mark.parametrize(
    ("content", "number"), [("", 0), ("\n \n<|endoftext|>", 0), ("one", 1)], ids=ascii
)
def test_too_few_documents_are_refused_with_their_number(tmp_path: Path, content: str, number: int):
    (tmp_path / "a.txt").write_text(content, encoding="utf-8")
    with pytest.raises(InvalidRequestError, match=rf"{number} documents, at least 2 are needed"):
        read_documents(tmp_path / "a.txt")


@settings(max_examples=100, deadline=None)
@given(number=st.integers(2, 40), share=st.floats(0.001, 0.999), seed=st.integers(0, 2**63 - 1))
def test_every_document_is_trained_on_or_held_out_and_none_both(
    number: int, share: float, seed: int
):
    documents = [f"document {n} 🤖" for n in range(number)]
    corpus = corpus_of(documents, held_out_share=share, seed=seed)
    trained, held_out = documents_in(corpus.train), documents_in(corpus.held_out)
    assert sorted(trained + held_out) == sorted(documents)
    assert trained
    assert held_out
    assert abs(len(held_out) - share * number) <= 1
    assert corpus.held_out_bytes == sum(len(document.encode()) for document in held_out)


def test_the_seed_chooses_what_is_held_out():
    documents = [str(n) for n in range(50)]
    chosen = [tuple(documents_in(corpus_of(documents, seed=seed).held_out)) for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_a_document_that_spells_end_of_text_cannot_end_itself():
    # A chat export may hold the words; they are no token.
    corpus = corpus_of(["a<|endoftext|>b", "a<|endoftext|>b"])
    assert corpus.train.tolist().count(EOT) == 2


@settings(max_examples=200, deadline=None)
@given(length=st.integers(2, 60), block_tokens=st.integers(1, 20))
def test_the_blocks_predict_every_token_behind_the_first_once(length: int, block_tokens: int):
    stream = torch.arange(length, dtype=torch.int32)
    targets: list[int] = []
    for index in range(num_blocks(stream, block_tokens)):
        inputs, following = block(stream, index, block_tokens)
        assert 1 <= len(inputs) <= block_tokens
        assert (inputs + 1).tolist() == following.tolist()
        targets += following.tolist()
    assert targets == list(range(1, length))


@settings(max_examples=60, deadline=None)
@given(length=st.integers(2, 90), batch_size=st.integers(1, 6), seed=st.integers(0, 2**63 - 1))
def test_every_epoch_visits_every_block_once_in_an_order_of_its_own(
    length: int, batch_size: int, seed: int
):
    stream = torch.arange(length, dtype=torch.int32)
    count = num_blocks(stream, 5)
    firsts: list[int] = []
    for step in range(-(-3 * count // batch_size)):
        inputs, targets = batch(stream, step, batch_size=batch_size, block_tokens=5, seed=seed)
        assert inputs.shape == targets.shape
        assert len(inputs) == batch_size
        firsts += inputs[:, 0].tolist()
    epochs = [firsts[start : start + count] for start in range(0, 3 * count, count)]
    assert all(sorted(epoch) == list(range(0, length - 1, 5)) for epoch in epochs)
    if count > 6:
        assert not epochs[0] == epochs[1] == epochs[2]


def test_a_batch_depends_on_its_step_alone():
    stream = torch.arange(100, dtype=torch.int32)

    def of(step: int, seed: int = 0) -> list[list[int]]:
        rows: list[list[int]] = batch(stream, step, batch_size=3, block_tokens=8, seed=seed)[
            0
        ].tolist()
        return rows

    forwards = [of(step) for step in range(10)]
    backwards = [of(step) for step in reversed(range(10))]
    assert forwards == backwards[::-1]
    assert of(0, seed=1) != of(0, seed=2)


def test_a_short_last_block_is_padded_where_no_loss_is_counted():
    stream = torch.arange(1, 13, dtype=torch.int32)  # blocks of 8 and of 3
    inputs, targets = batch(stream, 0, batch_size=2, block_tokens=8, seed=0)
    short = next(row for row in range(2) if inputs[row, 0] == 9)
    assert inputs[short].tolist() == [9, 10, 11, 0, 0, 0, 0, 0]
    assert targets[short].tolist() == [10, 11, 12, -100, -100, -100, -100, -100]
