"""Cutting text for speed changes no id, whatever the vocabulary: no cut goes through a merge."""

import random
from itertools import chain, islice

import pytest

from codec.bpe import Tokenizer
from codec.merging import Merger
from codec.pieces import PIECE
from tests.codec import fuzz
from tests.codec.vocabularies import random_vocabulary, vocabulary_of

NATURAL = [
    "It's the dogs' we'll they've 'reb é'sa d'été 字'll 'lla é're're",
    "x  y   z\n\n  日本 のは\u3000のは  \t x \x1c  y\u2028 é",
]
NUM_VOCABULARIES = 30
NUM_TEXTS = 40


def uncut(tokenizer: Tokenizer, text: str) -> list[int]:
    """Merge piece after piece: no blocks, no words, no parts, nothing remembered."""
    merger = Merger(tokenizer._vocabulary)
    return list(chain.from_iterable(merger.merge(piece.encode()) for piece in PIECE.findall(text)))


def test_cut_text_gets_the_ids_of_uncut_text_in_any_vocabulary():
    rng = random.Random(8)
    drawn = fuzz.texts(8, NATURAL)
    num_merged = 0
    for _ in range(NUM_VOCABULARIES):
        texts = [text for text in islice(drawn, NUM_TEXTS) if text]
        tokenizer = Tokenizer(random_vocabulary(rng, texts))
        for text in texts:
            ids = tokenizer.encode(text)
            assert ids == uncut(tokenizer, text), repr(text)
            num_merged += len(ids) < len(text.encode())
    assert num_merged > NUM_VOCABULARIES * NUM_TEXTS / 4


@pytest.mark.parametrize(
    ("merges", "text", "tokens"),
    [
        # Neither GPT-2's vocabulary nor the demo's has a token of several spaces; others may.
        ([(" ", " ")], "a    b", ["a", "  ", " ", " ", "b"]),
        ([(" ", " ")], "é    ", ["é", "  ", "  "]),
        ([(" ", " "), (" ", "\n")], "a   \n  b", ["a", "  ", " \n", " ", " ", "b"]),
        ([(" ", " "), ("  ", " ")], "      x", ["  ", "   ", " ", "x"]),
    ],
)
def test_a_run_of_spaces_is_one_piece_but_for_the_space_of_the_next_word(
    merges: list[tuple[str, str]], text: str, tokens: list[str]
):
    assert tokens_of(merges, text) == tokens


@pytest.mark.parametrize(
    ("merge", "text", "tokens"),
    [
        # No token holds an apostrophe and a letter, and still the contraction is a piece.
        (("s", "a"), "é'sa", ["é", "'", "s", "a"]),
        (("e", "b"), "é'reb", ["é", "'", "r", "e", "b"]),
        # And it is none unless it is whole.
        (("'", "r"), "é're", ["é", "'r", "e"]),
    ],
)
def test_a_contraction_is_never_cut_although_no_token_holds_it(
    merge: tuple[str, str], text: str, tokens: list[str]
):
    assert tokens_of([merge], text) == tokens


def tokens_of(merges: list[tuple[str, str]], text: str) -> list[str]:
    """Encode with these merges and one that makes é."""
    encoded = [(left.encode(), right.encode()) for left, right in merges]
    tokenizer = Tokenizer(vocabulary_of([(b"\xc3", b"\xa9"), *encoded]))
    return [tokenizer.decode([token_id]) for token_id in tokenizer.encode(text)]
