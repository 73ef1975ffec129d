"""The Tokenizer against tiktoken and against OpenAI's algorithm, on thousands of hard texts.

`OVID_FUZZ_TEXTS=1000000 python -m pytest tests/codec/test_fuzz.py --timeout=0` tries more of them.
"""

import os
from itertools import islice
from pathlib import Path

import pytest

from codec import bpe
from codec.pieces import blocks
from codec.vocabulary import find_vocabulary
from tests.codec import fuzz
from tests.codec.conftest import GPT2_FOLDER, ROOT, Pair
from tests.codec.reference import PublishedEncoder, differently_classed

NUM_TEXTS = int(os.environ.get("OVID_FUZZ_TEXTS", "10000"))
BATCH_TEXTS = 1000
LLAMA_CPP = ROOT.parent / "shared/data/tokenizer-goldens/llama.cpp/ggml-vocab-gpt-2.gguf.inp"


@pytest.fixture(scope="module")
def natural() -> list[str]:
    found = [Path(__file__).read_text(encoding="utf-8"), (ROOT / "README.md").read_text("utf-8")]
    if LLAMA_CPP.is_file():
        found += LLAMA_CPP.read_bytes().decode().split("\n__ggml_vocab_test__\n")
    return [text for text in found if text]


@pytest.fixture(scope="module")
def published() -> PublishedEncoder:
    if not GPT2_FOLDER.is_dir():
        pytest.skip(f"GPT-2's vocabulary is not in {GPT2_FOLDER}")
    return PublishedEncoder(*find_vocabulary(GPT2_FOLDER))


def test_hard_texts_get_the_ids_of_tiktoken_and_of_openais_algorithm(
    gpt2: Pair, published: PublishedEncoder, natural: list[str]
):
    newer = differently_classed()
    drawn = fuzz.texts(1, natural)
    judged_twice = 0
    for _ in range(NUM_TEXTS // BATCH_TEXTS):
        published.known.clear()
        batch = list(islice(drawn, BATCH_TEXTS))
        ours = [gpt2.ours.encode(text) for text in batch]
        assert ours == gpt2.theirs.encode_ordinary_batch(batch, num_threads=1)
        for text, ids in zip(batch, ours, strict=True):
            if newer.isdisjoint(text):
                judged_twice += 1
                assert published.encode(text) == ids, repr(text)
            assert gpt2.ours.decode(ids) == text
    assert judged_twice > NUM_TEXTS / 2


def test_hard_texts_get_tiktokens_ids_in_the_demos_vocabulary(demo: Pair, natural: list[str]):
    batch = list(islice(fuzz.texts(2, natural), NUM_TEXTS // 4))
    ours = [demo.ours.encode(text) for text in batch]
    assert ours == demo.theirs.encode_ordinary_batch(batch, num_threads=1)


def test_special_tokens_among_hard_texts_are_tiktokens(gpt2: Pair, natural: list[str]):
    for text in islice(fuzz.texts(3, natural), NUM_TEXTS // 10):
        ids = gpt2.ours.encode(text, allow_special=True)
        assert ids == gpt2.theirs.encode(text, allowed_special="all")


def test_a_tokenizer_that_forgets_at_once_gives_the_same_ids(
    gpt2: Pair, natural: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bpe, "WORDS_BYTES", 2000)
    monkeypatch.setattr(bpe, "PARTS_BYTES", 2000)
    forgetful = bpe.Tokenizer(gpt2.ours._vocabulary)
    for text in islice(fuzz.texts(4, natural), NUM_TEXTS // 10):
        assert forgetful.encode(text) == gpt2.theirs.encode_ordinary(text)


def test_blocks_that_are_encoded_apart_give_the_ids_of_the_whole(gpt2: Pair, natural: list[str]):
    cuts = 0
    for text in islice(fuzz.texts(5, natural), NUM_TEXTS // 10):
        for num_chars in (1, 2, 7):
            parts = list(blocks(text, num_chars))
            cuts += len(parts) - 1
            assert "".join(parts) == text
            apart = [token_id for part in parts for token_id in gpt2.ours.encode(part)]
            assert apart == gpt2.theirs.encode_ordinary(text), repr(text)
    assert cuts > NUM_TEXTS / 10
