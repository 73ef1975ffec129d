"""Documents to training blocks: what is set aside, what is learnt, what every epoch visits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from codec.bpe import Tokenizer
from codec.vocabulary import Vocabulary
from engine.errors import InvalidRequestError
from engine.train.data import MASKED, Blocks, Stream, build_corpus, collate
from engine.train.documents import Document
from tests.engine.support import EOT, byte_tokenizer
from tests.engine.training import corpus_of


def stream_of(ids: Tensor, unlearnt: tuple[int, ...] = ()) -> Stream:
    is_learnt = torch.ones(len(ids), dtype=torch.bool)
    is_learnt[list(unlearnt)] = False
    return Stream(ids.to(torch.int32), is_learnt)


def documents_in(stream: Stream) -> list[str]:
    """Cut a stream at its end-of-text tokens, which must stand at both ends."""
    text = byte_tokenizer().decode(stream.ids.tolist())
    first, *documents, last = text.split("<|endoftext|>")
    assert (first, last) == ("", "")
    return documents


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


def test_of_a_single_document_the_end_is_held_out():
    lines = [f"line {n}" for n in range(50)]
    corpus = corpus_of(["\n".join(lines)], held_out_share=0.1)
    assert documents_in(corpus.train) == ["\n".join(lines[:45])]
    assert documents_in(corpus.held_out) == ["\n".join(lines[45:])]


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_of_two_lines_one_is_held_out_whatever_the_share(share: float):
    corpus = corpus_of(["one\n\ntwo"], held_out_share=share)
    assert documents_in(corpus.train) == ["one"]
    assert documents_in(corpus.held_out) == ["two"]


def test_a_single_line_cannot_be_parted():
    with pytest.raises(InvalidRequestError, match="at least 2 documents or 2 lines"):
        corpus_of(["one line"])


def test_a_document_that_spells_end_of_text_cannot_end_itself():
    # A chat export may hold the words; they are no token.
    corpus = corpus_of(["a<|endoftext|>b", "a<|endoftext|>b"])
    assert corpus.train.ids.tolist().count(EOT) == 2


def test_of_a_prompt_and_its_completion_the_completion_and_its_end_are_learnt():
    documents = [Document(" yes", "q? "), Document(" no", "p? ")]
    corpus = build_corpus(documents, byte_tokenizer(), held_out_share=0.5, seed=0)
    for stream in (corpus.train, corpus.held_out):
        answer = documents_in(stream)[0].split("? ")[1].encode()
        ((_, targets),) = (Blocks(stream, 100)[n] for n in range(len(Blocks(stream, 100))))
        assert targets.tolist() == [MASKED] * 3 + [*answer, EOT]
        assert stream.num_targets == len(answer) + 1
    assert corpus.held_out_bytes in (4, 3)


def test_prompt_and_completion_are_encoded_apart_as_they_will_be_when_asked():
    every = (*(bytes([byte]) for byte in range(256)), b"<|endoftext|>", b"ab")
    tokenizer = Tokenizer(Vocabulary(every, tuple(range(256)), {(97, 98): (0, 257)}, eot=EOT))
    assert tokenizer.encode("ab") == [257]
    documents = [Document("b", "a"), Document("b", "a")]
    corpus = build_corpus(documents, tokenizer, held_out_share=0.5, seed=0)
    assert corpus.train.ids.tolist() == [EOT, ord("a"), ord("b"), EOT]


@settings(max_examples=200, deadline=None)
@given(length=st.integers(2, 60), block_tokens=st.integers(1, 20))
def test_the_blocks_predict_every_token_behind_the_first_once(length: int, block_tokens: int):
    blocks = Blocks(stream_of(torch.arange(length)), block_tokens)
    targets: list[int] = []
    for index in range(len(blocks)):
        inputs, following = blocks[index]
        assert 1 <= len(inputs) <= block_tokens
        assert (inputs + 1).tolist() == following.tolist()
        targets += following.tolist()
    assert targets == list(range(1, length))


@settings(max_examples=200, deadline=None)
@given(data=st.data(), length=st.integers(3, 60), block_tokens=st.integers(1, 20))
def test_every_learnt_token_is_a_target_once_and_no_other_is(
    data: st.DataObject, length: int, block_tokens: int
):
    unlearnt = data.draw(st.sets(st.integers(1, length - 2)))
    blocks = Blocks(stream_of(torch.arange(length), tuple(unlearnt)), block_tokens)
    rows = [blocks[index][1].tolist() for index in range(len(blocks))]
    assert all(set(row) != {MASKED} for row in rows)
    targets = [target for row in rows for target in row if target != MASKED]
    assert targets == [place for place in range(1, length) if place not in unlearnt]


@settings(max_examples=60, deadline=None)
@given(length=st.integers(2, 90), num_rows=st.integers(1, 6), seed=st.integers(0, 2**63 - 1))
def test_every_epoch_visits_every_block_once_in_an_order_of_its_own(
    length: int, num_rows: int, seed: int
):
    blocks = Blocks(stream_of(torch.arange(length)), 5)
    count = len(blocks)
    firsts: list[int] = []
    for step in range(-(-3 * count // num_rows)):
        rows = blocks.rows(step, num_rows, seed=seed)
        assert len(rows) == num_rows
        firsts += [int(inputs[0]) for inputs, _ in rows]
    epochs = [firsts[start : start + count] for start in range(0, 3 * count, count)]
    assert all(sorted(epoch) == list(range(0, length - 1, 5)) for epoch in epochs)
    if count > 6:
        assert not epochs[0] == epochs[1] == epochs[2]


def test_the_rows_of_a_step_depend_on_nothing_but_the_step_and_the_seed():
    blocks = Blocks(stream_of(torch.arange(100)), 8)

    def of(step: int, seed: int = 0) -> list[list[int]]:
        return [inputs.tolist() for inputs, _ in blocks.rows(step, 3, seed=seed)]

    forwards = [of(step) for step in range(10)]
    backwards = [of(step) for step in reversed(range(10))]
    assert forwards == backwards[::-1]
    assert of(0, seed=1) != of(0, seed=2)


def test_a_short_last_block_is_padded_where_no_loss_is_counted():
    blocks = Blocks(stream_of(torch.arange(1, 13)), 8)  # blocks of 8 and of 3
    inputs, targets = collate(blocks.rows(0, 2, seed=0))
    assert inputs.shape == targets.shape == (2, 8)
    short = next(row for row in range(2) if inputs[row, 0] == 9)
    assert inputs[short].tolist() == [9, 10, 11, 0, 0, 0, 0, 0]
    assert targets[short].tolist() == [10, 11, 12, *[MASKED] * 5]
