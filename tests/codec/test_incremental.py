"""The IncrementalDecoder: any stream of ids comes out as one decode of them would."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.incremental import IncrementalDecoder
from tests.codec.conftest import Pair, texts


@settings(max_examples=300, deadline=None)
@given(ids=st.lists(st.integers(min_value=0, max_value=8191), max_size=60))
def test_any_ids_one_by_one_join_to_what_one_decode_gives(demo: Pair, ids: list[int]):
    decoder = IncrementalDecoder(demo.ours)
    parts = [decoder.push(token_id) for token_id in ids]
    assert "".join(parts) + decoder.flush() == demo.ours.decode(ids)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=40))
def test_any_bytes_one_by_one_join_to_what_one_decode_gives(demo: Pair, data: bytes):
    byte_ids = demo.ours._vocabulary.byte_ids
    decoder = IncrementalDecoder(demo.ours)
    parts = [decoder.push(byte_ids[byte]) for byte in data]
    assert "".join(parts) + decoder.flush() == data.decode(errors="replace")


@settings(max_examples=200, deadline=None)
@given(text=texts())
def test_every_part_of_good_text_holds_whole_characters_only(demo: Pair, text: str):
    decoder = IncrementalDecoder(demo.ours)
    shown = ""
    for token_id in demo.ours.encode(text):
        shown += decoder.push(token_id)
        assert text.startswith(shown)
    assert shown == text
    assert decoder.flush() == ""


def test_a_character_cut_off_by_the_end_is_a_replacement_character(demo: Pair):
    byte_ids = demo.ours._vocabulary.byte_ids
    decoder = IncrementalDecoder(demo.ours)
    assert [decoder.push(byte_ids[byte]) for byte in "🤖".encode()[:3]] == ["", "", ""]
    assert decoder.flush() == "\ufffd"


def test_an_id_outside_the_vocabulary_is_refused(demo: Pair):
    with pytest.raises(ValueError, match="token id 8192 is outside the vocabulary"):
        IncrementalDecoder(demo.ours).push(8192)
