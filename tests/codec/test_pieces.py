"""Characters and pieces: every character is what it is to tiktoken, and GPT-2's pattern holds."""

import unicodedata
from itertools import islice, pairwise

import pytest
import regex
import tiktoken

from codec.joints import part_pattern
from codec.pieces import MASK, PIECE, blocks, words
from codec.unicode16 import LETTERS, NUMBERS, WHITE_SPACE, Ranges
from tests.codec import fuzz
from tests.codec.conftest import R50K_PATTERN
from tests.codec.reference import characters, differently_classed, every_character


@pytest.mark.parametrize(
    ("ranges", "pattern"),
    [(LETTERS, r"\p{L}+"), (NUMBERS, r"\p{N}+"), (WHITE_SPACE, r"\s+")],
    ids=["letters", "numbers", "white-space"],
)
def test_every_character_is_of_the_class_that_tiktoken_gives_it(ranges: Ranges, pattern: str):
    single_bytes = {bytes([byte]): byte for byte in range(256)}
    theirs = tiktoken.Encoding(
        "class", pat_str=pattern, mergeable_ranks=single_bytes, special_tokens={}
    )
    every = every_character()
    kept = bytearray()
    for begin in range(0, len(every), 100_000):
        kept += bytes(theirs.encode_ordinary(every[begin : begin + 100_000]))
    assert set(kept.decode()) == characters(ranges)


def test_characters_that_python_knows_have_the_class_that_it_gives_them():
    letters, numbers = characters(LETTERS), characters(NUMBERS)
    known = [char for char in every_character() if unicodedata.category(char) != "Cn"]
    # Python may know a later Unicode; then there are characters that 16.0 had not assigned.
    if tuple(map(int, unicodedata.unidata_version.split("."))) > (16, 0, 0):
        known = [char for char in known if char in letters or char in numbers]
    assert len(known) > 130_000
    for char in known:
        assert (char in letters) == unicodedata.category(char).startswith("L"), char
        assert (char in numbers) == unicodedata.category(char).startswith("N"), char


def test_pieces_are_those_of_the_published_pattern():
    published = regex.compile(R50K_PATTERN)
    newer = differently_classed()
    drawn = fuzz.texts(11, ["It's the dogs' 3rd day, isn't it?", "x = [1,  2]\n\n\ty\u3000z"])
    judged = [text for text in islice(drawn, 3000) if newer.isdisjoint(text)]
    assert len(judged) > 1500
    for text in judged:
        assert PIECE.findall(text) == published.findall(text), repr(text)


def test_a_space_begins_a_word_only_where_a_piece_begins():
    for text in islice(fuzz.texts(12, ["a  b   c \n d\n  e \t f", "\n \n  \n"]), 3000):
        cut = words(text)
        assert " ".join(cut).replace(MASK, " ") == text
        restored = [cut[0], *(f" {word}" for word in cut[1:])]
        apart = [piece for word in restored for piece in PIECE.findall(word.replace(MASK, " "))]
        assert apart == PIECE.findall(text), repr(text)


def test_text_without_white_space_is_one_block():
    assert list(blocks("字" * 1000, 10)) == ["字" * 1000]
    assert list(blocks("", 10)) == [""]


def test_a_part_ends_where_no_token_reaches_over():
    tokens = [b"the", "のは".encode(), "覚醒".encode()[2:], "é".encode(), b"\xe4\xbd"]
    cut = part_pattern(tokens)
    assert cut.findall("字のは字") == ["字", "のは", "字"]
    # The third token begins inside its first character, so any that ends alike may be meant.
    same_end = chr(ord("覚") + 64)
    assert cut.findall(f"字醒{same_end}醒") == ["字", "醒", f"{same_end}醒"]
    assert "".join(cut.findall("th the\n\n字's 'x")) == "th the\n\n字's 'x"


def test_parts_are_encoded_apart_with_white_space_and_apostrophes_where_pieces_need_them():
    cut = part_pattern([])
    for text in islice(fuzz.texts(13, ["。's '。 d'é  \n x", "字 字\u3000字"]), 3000):
        parts = cut.findall(text)
        assert "".join(parts) == text
        ends = {len("".join(parts[:count])) for count in range(len(parts) + 1)}
        at = 0
        pieces = []
        for piece in PIECE.findall(text):
            inner = sorted(end for end in ends if at < end < at + len(piece))
            bounds = [at, *inner, at + len(piece)]
            pieces += [text[a:b] for a, b in pairwise(bounds)]
            at += len(piece)
        assert [piece for part in parts for piece in PIECE.findall(part)] == pieces, repr(text)
