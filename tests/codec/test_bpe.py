"""The Tokenizer against tiktoken, against itself, and against what is hard to merge quickly."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec import bpe
from codec.vocabulary import END_OF_TEXT
from tests.codec.conftest import Pair, texts

LONG_CHARS = 2**20


@settings(max_examples=1000, deadline=None)
@given(found=st.lists(texts(), min_size=10, max_size=10))
def test_any_text_gets_the_ids_that_tiktoken_gives_it_in_gpt2s_vocabulary(
    gpt2: Pair, found: list[str]
):
    assert [gpt2.ours.encode(text) for text in found] == gpt2.theirs.encode_ordinary_batch(
        found, num_threads=1
    )


@settings(max_examples=200, deadline=None)
@given(found=st.lists(texts(), min_size=10, max_size=10))
def test_any_text_gets_the_ids_that_tiktoken_gives_it_in_the_demos_vocabulary(
    demo: Pair, found: list[str]
):
    assert [demo.ours.encode(text) for text in found] == demo.theirs.encode_ordinary_batch(
        found, num_threads=1
    )


@settings(max_examples=200, deadline=None)
@given(text=texts(max_chars=100))
def test_decoding_what_was_encoded_gives_the_text_back(demo: Pair, text: str):
    assert demo.ours.decode(demo.ours.encode(text)) == text


@settings(max_examples=200, deadline=None)
@given(text=texts(max_chars=100))
def test_text_that_a_person_wrote_never_becomes_end_of_text(demo: Pair, text: str):
    ids = demo.ours.encode(f"{text}{END_OF_TEXT}{text}")
    assert demo.ours.eot not in ids
    assert demo.ours.decode(ids) == f"{text}{END_OF_TEXT}{text}"


@settings(max_examples=200, deadline=None)
@given(text=texts(max_chars=100))
def test_allowed_end_of_text_becomes_one_id_as_in_tiktoken(demo: Pair, text: str):
    marked = f"{END_OF_TEXT}{text} {END_OF_TEXT}{END_OF_TEXT}x"
    ids = demo.ours.encode(marked, allow_special=True)
    assert ids == demo.theirs.encode(marked, allowed_special="all")
    assert ids.count(demo.ours.eot) == marked.count(END_OF_TEXT)
    assert demo.ours.decode(ids) == marked


@pytest.mark.parametrize("allow_special", [False, True])
@pytest.mark.parametrize(
    ("text", "place", "code"),
    [("\ud800", 0, "D800"), ("héllo🤖\udfffx", 6, "DFFF"), ("a\udc80\ud800", 1, "DC80")],
)
def test_a_lone_surrogate_is_refused_with_its_place(
    demo: Pair, text: str, place: int, code: str, allow_special: bool
):
    with pytest.raises(ValueError, match=rf"character {place} of the text.*U\+{code}"):
        demo.ours.encode(text, allow_special=allow_special)


def test_the_place_of_a_lone_surrogate_is_counted_in_the_whole_text(demo: Pair):
    text = f"ab{END_OF_TEXT}c\ud800"
    with pytest.raises(ValueError, match=f"character {text.index(chr(0xD800))} of the text"):
        demo.ours.encode(text, allow_special=True)


@pytest.mark.parametrize(
    "unit", ["a", "ab", " ", "1234567890"], ids=["letter", "letters", "space", "digits"]
)
def test_a_megabyte_of_the_same_is_encoded(demo: Pair, unit: str):
    # Only a merge that is near-linear ends within the time that one test has.
    text = (unit * LONG_CHARS)[:LONG_CHARS]
    ids = demo.ours.encode(text)
    assert demo.ours.decode(ids) == text
    # Far enough from both ends a run is merged in the same way everywhere.
    short = demo.ours.encode(text[: 2**12])
    assert ids[: len(short) // 2] == short[: len(short) // 2]


@settings(max_examples=300, deadline=None)
@given(piece=st.binary(max_size=120), letters=st.text(alphabet="aehinorst", max_size=120))
def test_merging_by_heap_is_merging_by_scan(demo: Pair, piece: bytes, letters: str):
    vocabulary = demo.ours._vocabulary
    for each in (piece, letters.encode()):
        ids = [vocabulary.byte_ids[byte] for byte in each]
        by_scan = bpe._merge_short(list(ids), vocabulary.merges)
        assert bpe._merge_long(list(ids), vocabulary.merges) == by_scan


def test_merging_by_heap_is_merging_by_scan_whatever_the_merges_are():
    # Ranks in no order: a merge can make a pair that ranks before the one just merged.
    rng = random.Random(7)
    for _ in range(300):
        pairs = [(left, right) for left in range(6) for right in range(6)]
        rng.shuffle(pairs)
        merges = {pair: (rank, rng.randrange(6)) for rank, pair in enumerate(pairs[:20])}
        ids = [rng.randrange(6) for _ in range(rng.randrange(40))]
        assert bpe._merge_long(list(ids), merges) == bpe._merge_short(list(ids), merges)


def test_the_cache_gives_the_same_ids_again_also_after_it_was_emptied(
    demo: Pair, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bpe, "CACHE_PIECES", 3)
    tokenizer = bpe.Tokenizer(demo.ours._vocabulary)
    text = "one two three four five one two three four five"
    expected = demo.theirs.encode_ordinary(text)
    assert [tokenizer.encode(text) for _ in range(3)] == [expected] * 3


def test_a_result_can_be_changed_without_changing_the_next_one(demo: Pair):
    before = demo.ours.encode("hello")
    demo.ours.encode("hello").append(0)
    assert demo.ours.encode("hello") == before


@pytest.mark.parametrize("token_id", [-1, 8192])
def test_an_id_outside_the_vocabulary_is_refused_with_the_bound(demo: Pair, token_id: int):
    with pytest.raises(ValueError, match=f"token id {token_id} is outside the vocabulary 0…8191"):
        demo.ours.decode([0, token_id])


def test_bytes_that_are_no_text_become_replacement_characters(demo: Pair):
    first_byte_of_two = demo.ours._vocabulary.byte_ids[0xC3]
    assert demo.ours.decode([first_byte_of_two, *demo.ours.encode("a")]) == "\ufffda"
    assert demo.ours.decode_bytes([first_byte_of_two]) == b"\xc3"
