"""WikiText, PTB, enwik8 and text8: the number that a slow computation gives, and its units."""

import math
from pathlib import Path

import pytest
import torch

from engine.errors import InvalidRequestError
from engine.evaluate import perplexity
from engine.evaluate.detokenize import wikitext_line
from engine.evaluate.task import InvalidDataError
from engine.weights import save_model
from tests.engine.evaluate.conftest import Measure, shared, values
from tests.engine.evaluate.reference import SlowModel
from tests.engine.models import make_model

WIKITEXT = """ \n = Robert Boulter = \n \n He had a guest @-@ starring role in " The Bill " , \
1 @,@ 200 lines ( in 2000 ) . \n = = Career = = \n \n The actors ' roles were n't small . \n"""
WIKITEXT_TEXT = """
= Robert Boulter =

He had a guest-starring role in "The Bill", 1,200 lines (in 2000).
== Career ==

The actors' roles weren't small.
"""
WIKITEXT_WORDS = 4 + 22 + 5 + 8 + 7
"""Words of the lines that are not empty, and one for the end of each of the seven lines."""
PTB = " no it was n't black monday \n but <unk> the dow fell N points to $ N million \n"
PTB_TEXT = "no it wasn't black monday\nbut ? the dow fell 1 points to $1 million\n"
PTB_WORDS = 6 + 11 + 2
XML = "<page>Zoë — “naïve” &amp; co.\n</page>\n" * 3


@pytest.fixture
def saved_uniform(vocabulary: Path, tmp_path: Path) -> str:
    """A model to which all tokens are the same."""
    model = make_model()
    with torch.no_grad():
        model.wte.weight.zero_()
    save_model(model, vocabulary, tmp_path / "uniform", dtype=torch.float32)
    return str(tmp_path / "uniform")


@pytest.mark.parametrize("stride", [64, 32, 7])
def test_wikitext_is_what_one_token_at_a_time_gives(measure: Measure, slow: SlowModel, stride: int):
    result = measure("wikitext2", WIKITEXT, stride=stride)
    nats = slow.running_text(WIKITEXT_TEXT, stride)
    assert values(result) == pytest.approx(
        {
            "perplexity": math.exp(nats / WIKITEXT_WORDS),
            "perplexity_token": math.exp(nats / len(WIKITEXT_TEXT.encode())),
            "bits_per_byte": nats / math.log(2) / len(WIKITEXT.encode()),
        },
        rel=1e-4,
    )
    assert result.counts["words"] == WIKITEXT_WORDS
    assert result.protocol["stride"] == stride


def test_ptb_is_what_one_token_at_a_time_gives(measure: Measure, slow: SlowModel):
    result = measure("ptb", PTB, stride=16)
    nats = slow.running_text(PTB_TEXT, 16)
    assert values(result)["perplexity"] == pytest.approx(math.exp(nats / PTB_WORDS), rel=1e-4)
    assert values(result)["bits_per_byte"] == pytest.approx(
        nats / math.log(2) / len(PTB.encode()), abs=1e-4
    )


@pytest.mark.parametrize(
    ("task", "text"), [("enwik8", XML), ("text8", "anarchism originated " * 9)]
)
def test_large_texts_are_scored_as_they_are(
    measure: Measure, slow: SlowModel, task: str, text: str
):
    bits = slow.running_text(text, 64) / math.log(2)
    measured = values(measure(task, text))
    assert measured["bits_per_byte"] == pytest.approx(bits / len(text.encode()), abs=1e-4)
    assert measured["bits_per_character"] == pytest.approx(bits / len(text), abs=1e-4)


def test_without_a_stride_windows_do_not_overlap(measure: Measure):
    assert values(measure("ptb", PTB)) == values(measure("ptb", PTB, stride=64))


def test_more_context_is_asked_for_by_a_smaller_stride(measure: Measure):
    windows = [measure("ptb", PTB, stride=stride).counts["windows"] for stride in (64, 8, 1)]
    tokens = len(PTB_TEXT.encode())
    assert windows == [math.ceil(tokens / 64), 1 + math.ceil((tokens - 64) / 8), tokens - 63]


def test_a_uniform_model_has_the_size_of_the_vocabulary_as_perplexity(
    measure: Measure, saved_uniform: str
):
    measured = values(measure("wikitext103", WIKITEXT, model=saved_uniform))
    assert measured["perplexity_token"] == pytest.approx(257, rel=1e-6)


def test_of_a_whole_enwik8_only_the_last_five_million_bytes_are_read(
    measure: Measure, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(perplexity, "LARGE_TEXT_BYTES", 300)
    monkeypatch.setattr(perplexity, "LARGE_TEXT_TEST_BYTES", 100)
    whole = ("x" * 199 + "é" + "y" * 97).encode() + "é".encode()
    assert len(whole) == 300
    # The test part begins inside the first é; its second byte belongs to no whole character.
    result = measure("enwik8", whole)
    assert (result.counts["bytes"], result.counts["characters"]) == (99, 98)
    assert values(result) == values(measure("enwik8", "y" * 97 + "é"))


def test_a_limit_counts_lines_of_words_and_bytes_of_large_texts(measure: Measure):
    assert measure("ptb", PTB, limit=1).counts["words"] == 7
    assert measure("enwik8", "aé" * 20, limit=5).counts["bytes"] == 4


def test_a_limit_that_reaches_no_word_is_told_as_such(measure: Measure):
    with pytest.raises(InvalidDataError, match="the first 1 lines hold no word"):
        measure("wikitext2", WIKITEXT, limit=1)


@pytest.mark.parametrize(
    ("task", "data", "sentence"),
    [
        ("wikitext2", b"", "line 1: the file is empty"),
        ("ptb", b"one\ntwo \xff three\n", "line 2: the byte 0xff is not UTF-8"),
        ("enwik8", b"one\n\n\xc3( two", "line 3: the byte 0xc3 is not UTF-8"),
    ],
)
def test_what_is_no_text_is_refused_with_its_line(
    measure: Measure, task: str, data: bytes, sentence: str
):
    with pytest.raises(InvalidDataError, match=f"data, {sentence}"):
        measure(task, data)


def test_a_stride_beyond_the_context_is_refused(measure: Measure):
    with pytest.raises(InvalidRequestError, match="stride must be between 1 and 64"):
        measure("ptb", PTB, stride=65)


def test_the_wikitext_test_set_has_the_number_of_words_that_its_authors_counted():
    """Merity et al. 2017, table 1: 245,569 tokens."""
    lines = shared("wikitext2/wiki.test.raw").read_text("utf-8").removesuffix("\n").split("\n")
    assert sum(len(line.split()) + 1 for line in lines) == 245_569


def test_the_detokenizer_loses_nothing_but_spaces_and_marks_of_the_wikitext_test_set():
    lines = shared("wikitext2/wiki.test.raw").read_text("utf-8").split("\n")
    for line in lines:
        unmarked = line.replace("@-@", "-").replace("@,@", ",").replace("@.@", ".")
        assert wikitext_line(line).replace(" ", "") == unmarked.replace(" ", "")
    distinct = {" ".join(line.split(" ")).strip() for line in lines}
    assert len({wikitext_line(line) for line in distinct}) == len(distinct)


def test_half_precision_is_close_to_single(measure: Measure):
    exact, half = (values(measure("ptb", PTB, precision=kind)) for kind in ("float32", "bfloat16"))
    assert half["bits_per_byte"] == pytest.approx(exact["bits_per_byte"], rel=0.05)
    assert half != exact
