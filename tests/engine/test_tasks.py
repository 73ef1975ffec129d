"""The prompts of the GPT-2 paper's tasks: their text, what is kept of an answer, what gives way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.commands.prompts import Prompt, end_of_sentence, fit
from engine.commands.tasks import ENGLISH_FRENCH, TASKS, TaskName, read_examples

PAIRS = (("a cat", "un chat"), ("a dog", "un chien"))
STORY = "Tom has a cat. It is grey."


@pytest.mark.parametrize(
    ("task", "text", "prompt"),
    [
        ("summarize", "It rained.\n\nMuch.", "It rained.\n\nMuch.\nTL;DR:"),
        (
            "translate-en-fr",
            "a\ncow",
            "a cat = un chat\na dog = un chien\na cow =",
        ),
        ("qa", "Who?", "Q: a cat\nA: un chat\nQ: a dog\nA: un chien\nQ: Who?\nA:"),
        ("coqa", f"{STORY}\n\nQ: Whose?\n", f"{STORY}\nQ: Whose?\nA:"),
        (
            "coqa",
            f"{STORY}\nQ: Whose?\nA: Tom's\nQ: Why?\nA:",
            f"{STORY}\nQ: Whose?\nA: Tom's\nQ: Why?\nA:",
        ),
    ],
)
def test_a_prompt_is_as_the_paper_has_it(task: TaskName, text: str, prompt: str):
    assert TASKS[task].build(text, PAIRS).text == prompt


def test_the_settings_are_the_papers():
    greedy = {name for name, task in TASKS.items() if task.decoding.get("temperature") == 0}
    assert greedy == {"translate-en-fr", "translate-fr-en", "qa", "coqa"}
    assert TASKS["summarize"].decoding == {"length": 100, "top_k": 2}
    assert (TASKS["summarize"].num_sentences, TASKS["translate-fr-en"].num_sentences) == (3, 1)


def test_french_is_shown_first_when_it_is_translated_from():
    there = TASKS["translate-fr-en"].build("x", TASKS["translate-fr-en"].examples).text
    back = TASKS["translate-en-fr"].build("x", TASKS["translate-en-fr"].examples).text
    english, french = ENGLISH_FRENCH[0]
    assert there.startswith(f"{french} = {english}\n")
    assert back.startswith(f"{english} = {french}\n")


@pytest.mark.parametrize(
    "text",
    ["", STORY, "Q: Who?", f"{STORY}\nQ: Whose?\nA: Tom's", f"{STORY}\nQ: Whose?\nQ: Why?"],
    ids=["nothing", "no question", "no document", "no last question", "no answer between"],
)
def test_a_conversation_without_its_last_question_is_refused(text: str):
    with pytest.raises(ValueError, match="the input of coqa is a document and, below it"):
        TASKS["coqa"].build(text, ())


@pytest.mark.parametrize(
    ("text", "number", "end"),
    [
        ("One. Two! Three? Four", 3, len("One. Two! Three?")),
        ("One. Two", 2, None),
        ("One.", 1, None),
        ('He said "Go." Then', 1, len('He said "Go."')),
        ("Mr. J. Smith paid 3.50 to St. Mary. Then", 1, len("Mr. J. Smith paid 3.50 to St. Mary.")),
        ("\n\nA heading \nOne. ", 1, len("\n\nA heading")),
        ("One.\nTwo\n", 2, len("One.\nTwo")),
        ("Wait... what? Yes", 2, len("Wait... what?")),
    ],
)
def test_sentences_end_where_a_reader_would_say_so(text: str, number: int, end: int | None):
    assert end_of_sentence(text, number) == end


@pytest.mark.parametrize("name", TASKS)
@given(text=st.text(st.sampled_from('ab.A! \n"Q:'), max_size=40), cut=st.integers(0, 40))
def test_what_was_shown_of_an_answer_is_never_taken_back(name: TaskName, text: str, cut: int):
    before, enough = TASKS[name].keep(text[:cut])
    after, _ = TASKS[name].keep(text)
    assert after.startswith(before)
    assert not enough or after == before


def words(text: str) -> int:
    return len(text.split())


def test_what_fits_is_left_alone():
    assert fit(Prompt("a b", (" c",), " d"), words, 4) == ("a b c d", "")


@pytest.mark.parametrize(
    ("most", "text", "left_out"),
    [
        (5, "One two. Three. y z", "1 of 2 examples"),
        (4, "One two. Three. z", "2 of 2 examples"),
        (3, "One two. z", "2 of 2 examples and the input behind its first 8 characters"),
        (2, "One z", "2 of 2 examples and the input behind its first 3 characters"),
        (0, "One two. Three. z", "2 of 2 examples"),
    ],
)
def test_examples_give_way_first_and_then_the_end_of_the_document(
    most: int, text: str, left_out: str
):
    shorter, said = fit(Prompt("One two. Three.", (" w x", " y"), " z"), words, most)
    assert shorter == text
    assert said == f"the context is too short for all of it: left out {left_out}"


@given(
    document=st.text(st.sampled_from("ab. \n"), max_size=60),
    parts=st.lists(st.text("ab ", min_size=1), max_size=5),
    most=st.integers(2, 30),
)
def test_what_is_too_long_is_cut_to_fit_and_only_then(document: str, parts: list[str], most: int):
    prompt = Prompt(document, tuple(parts), "!")
    text, said = fit(prompt, len, most)
    assert bool(said) == (text != prompt.text)
    if len(prompt.text) <= most:
        assert text == prompt.text
    if said:
        assert text.endswith("!")
        assert prompt.document.startswith(text[:-1]) or text.startswith(prompt.document)


def test_examples_are_read_by_tabs():
    assert read_examples("un\tone\n\n deux \t two\n") == (("un", "one"), ("deux", "two"))


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "holds none"), ("un\tone\nzwei", "line 2"), ("a\tb\tc", "line 1"), ("a\t \n", "line 1")],
)
def test_examples_that_are_no_pairs_are_refused_by_line(text: str, said: str):
    with pytest.raises(ValueError, match=said):
        read_examples(text)
