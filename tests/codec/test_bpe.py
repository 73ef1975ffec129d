"""The Tokenizer against tiktoken, against itself, and against what is hard to merge quickly."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec import bpe
from codec.vocabulary import END_OF_TEXT
from tests.codec.conftest import Pair, texts


class CountingRanks(dict[tuple[int, int], int]):
    """Ranks that know how often they were asked for: what merging costs, without a clock."""

    num_asked = 0

    def get(self, *args):
        self.num_asked += 1
        return super().get(*args)

    def __contains__(self, pair: object) -> bool:
        self.num_asked += 1
        return super().__contains__(pair)


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


@pytest.mark.parametrize("unit", ["a", " ", "\n", "7", "の", "字", "🤖", "\u0301", "' "])
def test_a_long_run_of_the_same_costs_no_more_for_each_character_than_a_shorter_one(
    demo: Pair, unit: str
):
    asked = []
    num_bytes = 2**13 * len(unit.encode())
    for num_units in (2**10, 2**13):
        tokenizer = bpe.Tokenizer(demo.ours._vocabulary)
        tokenizer._merger._ranks = ranks = CountingRanks(tokenizer._merger._ranks)
        text = unit * num_units
        assert tokenizer.encode(text) == demo.theirs.encode_ordinary(text)
        asked.append(ranks.num_asked)
    # Five for each byte: its first pair, and two for each of at most as many merges.
    assert asked[1] <= 5 * num_bytes
    assert asked[1] <= 8.1 * asked[0]


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


def test_an_id_beyond_the_vocabulary_is_found_among_many(demo: Pair):
    with pytest.raises(ValueError, match="token id 9000 is outside the vocabulary 0…8191"):
        demo.ours.decode_bytes(iter([*range(8000), 9000, -5]))


def test_a_pickled_tokenizer_encodes_as_before_and_carries_no_memory_along(demo: Pair):
    text = " ".join(f"word{number}" for number in range(2000))
    fresh = len(pickle.dumps(bpe.Tokenizer(demo.ours._vocabulary)))
    expected = demo.ours.encode(text)
    pickled = pickle.dumps(demo.ours)
    assert pickle.loads(pickled).encode(text) == expected
    assert len(pickled) == fresh


def test_threads_that_share_a_tokenizer_get_the_same_ids_while_it_forgets(
    demo: Pair, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bpe, "WORDS_BYTES", 20_000)
    monkeypatch.setattr(bpe, "PARTS_BYTES", 5_000)
    shared = bpe.Tokenizer(demo.ours._vocabulary)
    texts = [
        " ".join(f"w{(seed * number) % 997} strîng…" for number in range(300))
        for seed in range(1, 40)
    ]
    expected = demo.theirs.encode_ordinary_batch(texts, num_threads=1)
    with ThreadPoolExecutor(4) as threads:
        for found in [threads.map(shared.encode, texts) for _ in range(4)]:
            assert list(found) == expected
