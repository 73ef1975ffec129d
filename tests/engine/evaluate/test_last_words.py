"""LAMBADA: accuracy and perplexity of the last word, with and without the stop-word filter."""

import json
import math
from pathlib import Path

import pytest
import torch

from codec.vocabulary import END_OF_TEXT, byte_alphabet
from engine.config import ModelConfig
from engine.evaluate.lambada import measure as measure_scores
from engine.evaluate.task import InvalidDataError, Scores
from engine.model import GPT2
from engine.weights import save_model
from tests.engine.evaluate.conftest import Measure, shared, values
from tests.engine.evaluate.reference import SlowModel

PASSAGES = [
    "A passage that is a good deal longer than the sixty-four tokens of its model, says Ann",
    "one\n\ntwo three",
    'He said: "I am naïve.”',
    "the end  ",
]
LAST_WORDS = [" Ann", " three", " naïve.”", " end"]
CONTEXTS = [PASSAGES[0].removesuffix(" Ann"), "one\n\ntwo", 'He said: "I am', "the"]

LIKELY = {" the": 5.0, " do": 4.5, " dog": 4.0}
"""Logits of a model that never looks at what stands before; all others are 0."""


def lines(passages: list[str]) -> str:
    return "".join(json.dumps({"text": passage}) + "\n" for passage in passages)


@pytest.fixture(scope="module")
def opinionated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model folder: bytes and three words as tokens, each with the logit of LIKELY."""
    folder = tmp_path_factory.mktemp("opinionated")
    table = dict(byte_alphabet())
    merges = ["Ġ t", "h e", "Ġt he", "Ġ d", "Ġd o", "Ġdo g"]
    for merge in merges:
        table[merge.replace(" ", "")] = len(table)
    table[END_OF_TEXT] = len(table)
    (folder / "vocab.json").write_text(json.dumps(table), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges), encoding="utf-8")
    model = GPT2(ModelConfig(n_layer=1, n_head=1, n_embd=4, n_vocab=len(table), n_ctx=64))
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        # The last layer norm lets nothing through but its bias, which reads out one column.
        model.ln_f.bias[0] = 1.0
        for token, logit in LIKELY.items():
            model.wte.weight[table[token.replace(" ", "Ġ")], 0] = logit
    save_model(model, folder, folder / "model", dtype=torch.float32)
    return str(folder / "model")


def test_the_perplexities_are_what_one_token_at_a_time_gives(measure: Measure, slow: SlowModel):
    totals = [
        slow.total(list(context.encode()), word)
        for context, word in zip(CONTEXTS, LAST_WORDS, strict=True)
    ]
    wholes = [(context + word).encode() for context, word in zip(CONTEXTS, LAST_WORDS, strict=True)]
    last = sum(slow.log_prob(list(whole[-65:-1]), whole[-1]) for whole in wholes)
    measured = values(measure("lambada", lines(PASSAGES)))
    num_tokens = sum(len(word.encode()) for word in LAST_WORDS)
    assert measured["perplexity"] == pytest.approx(math.exp(-sum(totals) / 4), rel=1e-4)
    assert measured["perplexity_token"] == pytest.approx(
        math.exp(-sum(totals) / num_tokens), rel=1e-4
    )
    assert measured["perplexity_last_token"] == pytest.approx(math.exp(-last / 4), rel=1e-4)


def test_accuracy_counts_words_all_of_whose_tokens_are_the_likeliest(
    measure: Measure, opinionated: str
):
    passages = ["x y the", "x y the", "x y dogs", "x y cat"]
    measured = values(measure("lambada", lines(passages), model=opinionated))
    assert measured["accuracy"] == 50


def test_with_the_filter_no_word_that_is_a_stop_word_is_predicted(
    measure: Measure, opinionated: str
):
    # " the" and " do" are passed over, so " dog" is what is left.
    passages = ["x y the", "x y dog", "x y dog", "x y do"]
    measured = values(measure("lambada", lines(passages), model=opinionated))
    assert (measured["accuracy"], measured["accuracy_filtered"]) == (25, 50)


def test_the_filter_is_for_the_beginning_of_the_word_alone():
    yes_no, no_yes = torch.tensor([True, False]), torch.tensor([False, True])
    nothing = torch.zeros(2)
    scores = [
        # The first token is the best that is allowed, the second the best of all: predicted.
        Scores(nothing, is_best=no_yes, is_best_allowed=yes_no),
        Scores(nothing, is_best=no_yes, is_best_allowed=no_yes),
        Scores(nothing, is_best=yes_no, is_best_allowed=yes_no),
    ]
    measured = {metric.name: metric.value for metric in measure_scores(scores)}
    assert measured["accuracy_filtered"] == pytest.approx(100 / 3)
    assert measured["accuracy"] == 0


def test_the_last_token_is_judged_given_the_true_ones_before_it(measure: Measure, opinionated: str):
    total = 5.0 - math.log(257 + 6 - 3 + sum(math.exp(logit) for logit in LIKELY.values()))
    measured = values(measure("lambada", lines(["dog the", "cat the"]), model=opinionated))
    assert measured["accuracy_last_token"] == 100
    assert measured["perplexity_last_token"] == pytest.approx(math.exp(-total), rel=1e-5)


def test_a_limit_takes_the_first_passages_and_empty_lines_are_none(measure: Measure):
    text = "\n" + lines(PASSAGES).replace("\n", "\n\n")
    assert measure("lambada", text).counts["passages"] == 4
    assert values(measure("lambada", text, limit=2)) == values(
        measure("lambada", lines(PASSAGES[:2]))
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"text": "a b"}\nplain text\n', r'line 2: expected \{"text": "…"\} in JSON'),
        ('{"txt": "a b"}', r'line 1: expected \{"text": "…"\} in JSON'),
        ('["a b"]', r'line 1: expected \{"text": "…"\} in JSON'),
        ('{"text": 3}', r'line 1: expected \{"text": "…"\} in JSON'),
        ('\n{"text": "word"}', "line 2: the text has no word before its last one"),
        (lines(["a " + "b" * 80]), "line 1: the last word is 81 tokens long, and the context 64"),
    ],
)
def test_a_line_that_is_no_passage_is_refused_with_its_number(
    measure: Measure, text: str, sentence: str
):
    with pytest.raises(InvalidDataError, match=f"data, {sentence}"):
        measure("lambada", text)


def test_real_passages_are_what_one_token_at_a_time_gives(
    measure: Measure, slow: SlowModel, tmp_path: Path
):
    with shared("lambada/lambada_test.jsonl").open(encoding="utf-8") as file:
        passages = [json.loads(next(file))["text"] for _ in range(8)]
    totals = []
    for passage in passages:
        start = passage.rindex(" ")
        totals.append(slow.total(list(passage[:start].encode()), passage[start:]))
    measured = values(measure("lambada", lines(passages)))
    assert measured["perplexity"] == pytest.approx(math.exp(-sum(totals) / 8), rel=1e-4)
