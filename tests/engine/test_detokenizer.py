"""The Detokenizer: whole characters, and nothing of a stop string."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.detokenizer import Detokenizer
from tests.engine.support import byte_tokenizer

ROBOT = "🤖".encode()
# Ids from 257 on: pieces that begin or end inside characters and stop strings.
TOKENS = (
    b"a" + ROBOT[:2],
    ROBOT[2:] + b"b",
    b"\n\nUs",
    b"er: hi",
    b"one\n",
    b"END and more",
    b"EN",
)
TOKENIZER = byte_tokenizer(*TOKENS)


def ids_of(*pieces: bytes) -> list[int]:
    """The ids of whole tokens where there is one, else of the bytes."""
    ids: list[int] = []
    for piece in pieces:
        ids += [257 + TOKENS.index(piece)] if piece in TOKENS else list(piece)
    return ids


def shown(ids: list[int], *stop: str) -> tuple[list[str], bool]:
    """What comes out id by id, the end's rest last; and whether a stop string ended it."""
    detokenizer = Detokenizer(TOKENIZER, stop)
    parts = []
    for token_id in ids:
        text, stopped = detokenizer.push(token_id)
        parts.append(text)
        if stopped:
            return [*parts, detokenizer.flush()], True
    return [*parts, detokenizer.flush()], False


def test_an_emoji_split_over_tokens_comes_out_whole():
    ids = ids_of(TOKENS[0], TOKENS[1], ROBOT)
    assert shown(ids) == (["a", "🤖b", "", "", "", "🤖", ""], False)


def test_an_emoji_that_is_never_finished_comes_out_as_one_replacement_character():
    assert shown(ids_of(b"x", ROBOT[:3])) == (["x", "", "", "", "\ufffd"], False)


def test_a_stop_string_across_tokens_never_shows():
    ids = ids_of(b"o", b"k", b"\n\nUs", b"er: hi")
    assert shown(ids, "\n\nUser:") == (["o", "k", "", "", ""], True)


def test_a_stop_string_inside_a_token_cuts_it():
    assert shown(ids_of(b"x", b"END and more"), "END") == (["x", "", ""], True)
    assert shown(ids_of(b"one\n"), "\n") == (["one", ""], True)


@pytest.mark.parametrize("stop", ["\n\nUser:", "\n\nUses of"])
def test_what_only_began_like_a_stop_string_is_released(stop: str):
    ids = ids_of(b"\n\nUs", b"a", b"\n", b"\n", b"x")
    assert shown(ids, stop) == (["", "\n\nUsa", "", "", "\n\nx", ""], False)


def test_a_false_start_may_be_followed_at_once_by_the_stop_string():
    # "aab": after "aa", the second a may still begin it.
    assert shown(ids_of(b"aaaab"), "aab") == (["", "", "a", "a", "", ""], True)


def test_what_might_have_become_a_stop_string_is_released_by_the_end():
    assert shown(ids_of(b"x", b"\n\nUs"), "\n\nUser:") == (["x", "", "\n\nUs"], False)


def test_a_stop_string_completed_by_the_end_itself_does_not_show():
    assert shown(ids_of(b"x", ROBOT[:2]), "\ufffd") == (["x", "", "", ""], False)


def test_of_several_stop_strings_the_first_to_be_complete_counts():
    ids = ids_of(b"x", b"END and more")
    assert shown(ids, "more", "and") == (["x", "END ", ""], True)
    assert shown(ids, "and", "more", "EN") == (["x", "", ""], True)
    assert shown(ids, "END and", "ND") == (["x", "E", ""], True)


def test_the_longest_possible_beginning_of_any_stop_string_is_held_back():
    # "EN" may become "END"; "N!" can only become "N!!".
    assert shown(ids_of(b"x", b"EN", b"!"), "N!!", "END") == (["x", "", "E", "N!"], False)


def test_text_before_the_stop_string_in_the_same_token_is_kept():
    assert shown(ids_of(b"END and more"), "and") == (["END ", ""], True)


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(alphabet="abA🤖", max_size=30),
    stop=st.lists(st.text(alphabet="abA🤖", min_size=1, max_size=4), max_size=3),
)
def test_byte_by_byte_the_text_ends_before_the_first_stop_string_to_be_completed(
    text: str, stop: list[str]
):
    ends = [place + len(one) for one in stop if (place := text.find(one)) >= 0]
    parts, stopped = shown(list(text.encode()), *stop)
    assert stopped == bool(ends)
    if ends:
        cut = min(ends)
        longest = max(len(one) for one in stop if text[:cut].endswith(one))
        assert "".join(parts) == text[: cut - longest]
    else:
        assert "".join(parts) == text


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=30))
def test_without_stop_strings_all_of_the_text_comes_out(data: bytes):
    parts, stopped = shown(list(data))
    assert ("".join(parts), stopped) == (data.decode(errors="replace"), False)


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(alphabet="ab", max_size=20),
    cuts=st.lists(st.integers(1, 20), max_size=6),
    stop=st.lists(st.text(alphabet="ab", min_size=1, max_size=4), max_size=3),
)
def test_how_a_text_is_cut_into_tokens_does_not_change_what_is_shown(
    text: str, cuts: list[int], stop: list[str]
):
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[i:j].encode() for i, j in pairwise(places)]
    tokenizer = byte_tokenizer(*pieces)
    detokenizer = Detokenizer(tokenizer, tuple(stop))
    out = ""
    for number in range(len(pieces)):
        part, stopped = detokenizer.push(257 + number)
        out += part
        if stopped:
            break
    out += detokenizer.flush()
    assert out == "".join(shown(list(text.encode()), *stop)[0])
