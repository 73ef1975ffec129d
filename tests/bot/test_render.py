"""Laying out model text: the promises of the label, for any text."""

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.render import MAX_UNITS, RUNNING_MARK, render
from bot.replies import asked_by
from tests.bot.label_cases import FRAGMENTS, LABEL, Case, check, markup_in, undo, units

LOREM = "The old lighthouse keeper counted the ships again, and again there was one too many. "
soup = st.lists(st.sampled_from(FRAGMENTS), max_size=60).map("".join)
anything = st.one_of(st.text(), st.text(alphabet=string.printable), soup)
long_texts = st.builds(lambda text, times: text * times, anything, st.integers(1, 60))
introductions = st.one_of(st.just(""), st.builds(asked_by, anything, anything))


def bodies(parts: tuple[str, ...]) -> list[str]:
    head = f"{LABEL}\n"
    assert all(part.startswith(head) for part in parts)
    return [part.removeprefix(head) for part in parts]


@settings(max_examples=40)
@given(long_texts, introductions, st.booleans(), st.integers(0, 9999))
@example("x" * (MAX_UNITS - units(f"{LABEL}\n")), "", True, 0)
@example("🤖" * 3000, "", False, 0)
@example("\n" * 4000, "", True, 0)
@example("\u0303" * 4000, "", True, 0)
@example("👩‍" * 2000, "", True, 0)
def test_any_reply_is_laid_out_as_promised(text, introduction, is_running, earlier):
    check(Case(text, LABEL, introduction, is_running, min(earlier, len(text))))


@pytest.mark.parametrize("character", ["👩‍👩‍👧‍👦", "🇩🇪", "👍🏽", "e\u0301", "क्ष", "กำ", "각"])
def test_no_part_begins_inside_what_people_see_as_one_character(character):
    written = [undo(body) for body in bodies(render(f"a{character * 2500}", LABEL))]
    assert len(written) > 1
    assert all(set(body.removeprefix("a").split(character)) == {""} for body in written)


def test_a_long_text_is_cut_after_a_paragraph_before_a_line_before_a_word():
    words = LOREM * 15
    assert len(words) < 1500
    paragraph = render(f"{words}\n\n{words}\nx {words}", LABEL)
    assert undo(bodies(paragraph)[0]) == f"{words}\n\n"
    line = render(f"{words}\nx {words}", LABEL)
    assert undo(bodies(line)[0]) == f"{words}\n"
    word = render(words * 2, LABEL)
    assert undo(bodies(word)[0]).endswith(" ")


def test_a_part_that_begins_in_the_middle_of_a_line_is_inert_from_its_first_character():
    first, second = bodies(render("x" * 1850 + " " + "#tag " * 50, LABEL))
    assert first.endswith(" #tag ")
    assert second.startswith(r"\#tag #tag ")


def test_a_notice_that_does_not_fit_gets_a_labelled_part_of_its_own():
    full = "x" * (MAX_UNITS - units(f"{LABEL}\n") - units(RUNNING_MARK))
    assert render(full, LABEL, notice="-# Stopped.")[1:] == (f"{LABEL}\n-# Stopped.",)
    assert render("Once", LABEL, notice="-# Stopped.") == (f"{LABEL}\nOnce\n-# Stopped.",)


def test_an_empty_text_is_one_labelled_part():
    assert render("", LABEL, is_running=True) == (f"{LABEL}\n ▌",)


def test_an_introduction_that_leaves_no_room_is_an_error():
    with pytest.raises(ValueError, match="at least 400"):
        render("text", LABEL, introduction="x" * 1800)


@given(anything, long_texts)
@example("\u0303" * 99, "\u0303" * 999)
@example("n", "\n" * 999)
def test_a_quoted_prompt_is_inert_and_leaves_room(name, prompt):
    quote = asked_by(name, prompt)
    assert units(quote) < 550
    first, *lines = quote.split("\n")
    assert first.startswith("-# ")
    assert all(line.startswith("> ") for line in lines)
    assert not any(map(markup_in, [first[3:], *(line[2:] for line in lines)]))
