"""The Children's Book Test: each candidate's probability with the rest of the sentence."""

from pathlib import Path

import pytest

from engine.evaluate import cloze
from engine.evaluate.scoring import Scorer
from engine.evaluate.task import InvalidDataError, Setting
from engine.model import GPT2
from tests.engine.evaluate.conftest import Measure, values
from tests.engine.evaluate.reference import SlowModel
from tests.engine.support import byte_tokenizer

SENTENCES = [f"The cat , no {number} , did n't stay ." for number in range(1, 21)]
DETOKENIZED = " ".join(f"The cat, no {number}, didn't stay." for number in range(1, 21))
QUERIES = [
    # query, answer, candidates, what stands before the blank, what behind it
    ("`` Ca n't XXXXX see ? ''", "dogs", "cats|dogs|men", " \"Can't", ' see?"'),
    ("XXXXX 's hat -LRB- red -RRB- fell .", "Ann", "Bob|Cy|Ann", "", "'s hat (red) fell."),
    ("So he took the XXXXX", "egg", "egg|oar", " So he took the", ""),
    ("`` XXXXX , '' she said .", "Tea", "Milk|Tea|Ale", ' "', '," she said.'),
]


def block(query: str, answer: str, candidates: str) -> str:
    numbered = [f"{number} {line}" for number, line in enumerate(SENTENCES, 1)]
    return "\n".join([*numbered, f"21 {query}\t{answer}\t\t{candidates}"]) + "\n\n"


TEXT = "".join(block(*query[:3]) for query in QUERIES)


def slow_totals(slow: SlowModel) -> list[list[float]]:
    totals = []
    for _, _, candidates, before, after in QUERIES:
        context = list((DETOKENIZED + before).encode())
        # Behind an opening quotation mark a word begins without a space.
        space = "" if before.endswith(' "') else " "
        totals.append([slow.total(context, space + word + after) for word in candidates.split("|")])
    return totals


def test_each_candidate_has_the_probability_that_one_token_at_a_time_gives(
    model: GPT2, slow: SlowModel, tmp_path: Path
):
    path = tmp_path / "cbt.txt"
    path.write_text(TEXT, encoding="utf-8")
    prepared = cloze.prepare(path, Setting(byte_tokenizer(), n_ctx=64, stride=64))
    scores = Scorer(model, batch_size=3).score(prepared.requests)
    expected = [total for totals in slow_totals(slow) for total in totals]
    assert [score.total for score in scores] == pytest.approx(expected, abs=1e-4)


def test_the_candidate_that_is_most_probable_is_the_answer(measure: Measure, slow: SlowModel):
    best = [totals.index(max(totals)) for totals in slow_totals(slow)]
    right = [
        candidates.split("|").index(answer) == index
        for (_, answer, candidates, *_), index in zip(QUERIES, best, strict=True)
    ]
    assert values(measure("cbt-cn", TEXT))["accuracy"] == 100 * sum(right) / 4
    # With every answer the probable one, and with every answer another one.
    for shift, accuracy in ((0, 100), (1, 0)):
        text = ""
        for (query, _, candidates, *_), index in zip(QUERIES, best, strict=True):
            words = candidates.split("|")
            text += block(query, words[(index + shift) % len(words)], candidates)
        assert values(measure("cbt-ne", text))["accuracy"] == accuracy


def test_files_with_windows_line_ends_are_read(measure: Measure):
    assert values(measure("cbt-cn", TEXT.replace("\n", "\r\n"))) == values(measure("cbt-cn", TEXT))


def test_a_limit_takes_the_first_questions(measure: Measure):
    assert measure("cbt-cn", TEXT, limit=3).counts == {"questions": 3, "candidates": 8}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1 One .\n3 Three .\n", "line 2: expected sentence 2 of a question, not '3 Three .'"),
        (
            "".join(f"{number} \n" for number in range(1, 21)) + "21 XXXXX .\ta\t\ta|b",
            "line 21: there is no word before XXXXX",
        ),
        (block("no blank", "a", "a|b"), "line 21: the query must hold XXXXX once"),
        (block("XXXXX or XXXXX", "a", "a|b"), "line 21: the query must hold XXXXX once"),
        (block("XXXXX .", "c", "a|b"), "line 21: expected: query, tab, answer, two tabs"),
        (block("XXXXX .", "a", "a"), "line 21: expected: query, tab, answer, two tabs"),
        (block("XXXXX .", "a", "a|b").replace("\t", " "), "line 21: expected: query, tab"),
        ("1 One .\n2 Two .\n", "line 3: the file ends after 2 sentences of a question"),
        (block("XXXXX" + " x" * 40, "a", "a|b"), "line 21: the sentence is 82 tokens long"),
    ],
)
def test_a_line_that_does_not_belong_is_refused_with_its_number(
    measure: Measure, text: str, sentence: str
):
    with pytest.raises(InvalidDataError, match=f"data, {sentence}"):
        measure("cbt-cn", text)


def test_all_that_stands_before_the_blank_is_the_context_of_each_candidate(tmp_path: Path):
    path = tmp_path / "cbt.txt"
    path.write_text(TEXT, encoding="utf-8")
    setting = Setting(byte_tokenizer(), n_ctx=1024, stride=1024)
    for request in cloze.prepare(path, setting).requests[:3]:
        before = bytes(request.ids[: request.first].tolist()).decode()
        assert before == DETOKENIZED + " \"Can't"
