"""Winograd schemas: full and partial scoring, both file formats, the candidate in its place."""

from pathlib import Path

import pytest

from engine.evaluate import winograd
from engine.evaluate.scoring import Scorer
from engine.evaluate.task import InvalidDataError, Setting
from engine.model import GPT2
from tests.engine.evaluate.conftest import Measure, shared, values
from tests.engine.evaluate.reference import EOT, SlowModel
from tests.engine.support import byte_tokenizer

XML = """<?xml version="1.0" encoding="ISO-8859-1"?>
<collection>
<schema>
<text><txt1>
The cup did not fit because</txt1>
<pron> it </pron> <txt2> is too
 big. </txt2></text>
<answers><answer>The cup </answer><answer>the bag </answer></answers>
<correctAnswer> A. </correctAnswer>
</schema>
<schema>
<text><txt1>Ann hid Bea's toy. </txt1><pron>She</pron><txt2>was mad.</txt2></text>
<answers><answer>Ann</answer><answer>Bea's</answer></answers>
<correctAnswer>B</correctAnswer>
</schema>
<schema>
<text><txt1>The man met the boy and took</txt1><pron>his</pron><txt2>hat</txt2></text>
<answers><answer>The man</answer><answer>The boy</answer></answers>
<correctAnswer>B</correctAnswer>
</schema>
<schema>
<text><txt1>The way was shut, so we left</txt1><pron> it</pron><txt2>.</txt2></text>
<answers><answer>The way</answer><answer>the lake</answer></answers>
<correctAnswer>A</correctAnswer>
</schema>
</collection>
"""
SPELLED = [
    ("The cup did not fit because the cup", " is too big."),
    ("The cup did not fit because the bag", " is too big."),
    ("Ann hid Bea's toy. Ann", " was mad."),
    ("Ann hid Bea's toy. Bea", " was mad."),
    ("The man met the boy and took the man's", " hat"),
    ("The man met the boy and took the boy's", " hat"),
    ("The way was shut, so we left the way", "."),
    ("The way was shut, so we left the lake", "."),
]
ANSWERS = [0, 1, 1, 0]
BLOCKS = """The cup did not fit because  [MASK]  is too big.
[MASK]
the bag ,The cup
The cup

Ann hid Bea's toy. [MASK]  was mad.
[MASK]
Ann , the cat
the cat
"""
SPELLED_BLOCKS = [
    ("The cup did not fit because the bag", " is too big."),
    ("The cup did not fit because the cup", " is too big."),
    ("Ann hid Bea's toy. Ann", " was mad."),
    ("Ann hid Bea's toy. The cat", " was mad."),
]
BLOCK_ANSWERS = [1, 1]


def slow_scores(slow: SlowModel, spelled: list[tuple[str, str]]) -> list[tuple[float, float]]:
    """The logarithms of whole sentences, and of what is behind the pronoun."""
    return [
        (
            slow.total([EOT], before + after),
            slow.total([EOT, *before.encode()], after),
        )
        for before, after in spelled
    ]


def accuracy(totals: list[float], answers: list[int]) -> float:
    pairs = zip(totals[::2], totals[1::2], answers, strict=True)
    return 100 * sum((b > a) == bool(answer) for a, b, answer in pairs) / len(answers)


@pytest.mark.parametrize(
    ("text", "spelled", "answers"),
    [(XML, SPELLED, ANSWERS), (BLOCKS, SPELLED_BLOCKS, BLOCK_ANSWERS)],
    ids=["xml", "blocks"],
)
def test_both_scorings_are_what_one_token_at_a_time_gives(
    measure: Measure, slow: SlowModel, text: str, spelled: list[tuple[str, str]], answers: list[int]
):
    scores = slow_scores(slow, spelled)
    assert values(measure("winograd", text)) == {
        "accuracy_full": accuracy([full for full, _ in scores], answers),
        "accuracy_partial": accuracy([behind for _, behind in scores], answers),
    }


def test_each_sentence_has_the_probability_that_one_token_at_a_time_gives(
    model: GPT2, slow: SlowModel, tmp_path: Path
):
    path = tmp_path / "schemas.xml"
    path.write_text(XML, encoding="utf-8")
    prepared = winograd.prepare(path, Setting(byte_tokenizer(), n_ctx=64, stride=64))
    scores = Scorer(model, batch_size=3).score(prepared.requests)
    expected = slow_scores(slow, SPELLED)
    assert [score.total for score in scores] == pytest.approx(
        [full for full, _ in expected], abs=1e-4
    )
    behind = [
        float(score.log_probs[-len(after) :].sum())
        for score, (_, after) in zip(scores, SPELLED, strict=True)
    ]
    assert behind == pytest.approx([partly for _, partly in expected], abs=1e-4)


def test_the_scorings_differ_where_the_candidate_itself_decides():
    """A candidate that is improbable, and makes what follows probable."""
    import torch  # noqa: PLC0415

    from engine.evaluate.task import Scores  # noqa: PLC0415

    nothing = torch.zeros(3, dtype=torch.bool)
    a = Scores(torch.tensor([-1.0, -5.0, -5.0]).double(), nothing, nothing)
    b = Scores(torch.tensor([-99.0, -1.0, -1.0]).double(), nothing, nothing)
    metrics = {metric.name: metric.value for metric in winograd.measure([1], [2], [a, b])}
    assert metrics == {"accuracy_partial": 100, "accuracy_full": 0}


def test_only_the_first_273_schemas_count(measure: Measure):
    many = (
        XML.replace("</collection>", "")
        + XML[XML.index("<schema>") :].replace("</collection>", "") * 70
        + "</collection>"
    )
    counts = measure("winograd", many).counts
    assert counts == {"schemas": 273, "schemas_in_file": 284}
    assert measure("winograd", many, limit=2).counts["schemas"] == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<collection><schema></collection>", "line 1: this is no XML"),
        ("<collection/>", "line 1: there is no <schema> in it"),
        ('<!DOCTYPE c [<!ENTITY a "b">]>\n<c/>', "line 1: XML with entities of its own"),
        (XML.replace("> A. <", "> C. <"), "line 3: correctAnswer must be A or B, not 'C'"),
        (XML.replace("<pron>She</pron>", ""), "line 11: the schema must hold pron, txt2"),
        (XML.replace("<answer>The boy</answer>", ""), "line 16: the schema must hold pron, txt2"),
        (BLOCKS.replace("[MASK]  is", "he  is"), r"line 1: expected a sentence with \[MASK\]"),
        (BLOCKS.replace("\n[MASK]\nAnn", "\nAnn"), r"line 6: expected a sentence with \[MASK\]"),
        (BLOCKS.replace("Ann , the cat\n", "Ann\n"), "line 6: expected words behind the mask"),
        (BLOCKS.replace("\nthe cat\n", "\nthe dog\n"), "line 6: expected words behind the mask"),
        (XML.replace("big.", "big" * 30), "line 3: the sentence is .* tokens long, the context 64"),
    ],
)
def test_what_is_no_schema_is_refused_with_its_line(measure: Measure, text: str, sentence: str):
    with pytest.raises(InvalidDataError, match=f"data, {sentence}"):
        measure("winograd", text)


@pytest.mark.parametrize("name", ["wsc273.txt", "WSCollection.xml"])
def test_both_published_files_hold_wsc273(name: str):
    path = shared(f"winograd/{name}")
    if name.endswith("xml"):
        schemas = list(winograd.read_xml(path, path.read_bytes()))
        assert len(schemas) == 285
    else:
        schemas = list(winograd.read_blocks(path, path.read_text("utf-8")))
        assert len(schemas) == 273
    first, second = schemas[:2]
    assert [
        first.up_to(first.candidates[first.answer]) + first.rest(),
        second.up_to(second.candidates[second.answer]) + second.rest(),
    ] == [
        "The city councilmen refused the demonstrators a permit because "
        "the city councilmen feared violence.",
        "The city councilmen refused the demonstrators a permit because "
        "the demonstrators advocated violence.",
    ]
