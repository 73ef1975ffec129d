"""Laying out model text: the promises of the label, for any text."""

import re
import string
from itertools import accumulate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.inert import count_units
from bot.label import label
from bot.render import MAX_UNITS, RUNNING_MARK, render
from bot.replies import asked_by

LABEL = label("124M")
LOREM = "The old lighthouse keeper counted the ships again, and again there was one too many. "
SOUP = (
    *"#-+>*_~|`<>[]()@:/\\.!1 \n\t\u00a0\u3000",
    *("-# ", "### ", "> ", ">>> ", "```", "```py\n", "||", "**", "[x](https://example.com)"),
    *("@everyone", "@here", "<@1>", "<@&1>", "<#1>", "</generate:1>", "<id:customize>", "<t:1:R>"),
    *("https://example.com/a_b", "discord.gg/abc", ":robot:", "<:ovid:1>", "1. ", "12) ", "\n\n"),
    *(
        LABEL,
        LABEL + "\n",
        "\u202e",
        "\u2066",
        "\u200b",
        "\ufeff",
        "\r",
        "\u2028",
        "\x00",
        "⟨U+202E⟩",
    ),
    *("👩‍👩‍👧‍👦", "🇩🇪", "👍🏽", "e\u0301", "n" + "\u0303" * 40, "각", "word", "two words "),
)
soup = st.lists(st.sampled_from(SOUP), max_size=60).map("".join)
anything = st.one_of(st.text(), st.text(alphabet=string.printable), soup)
long_texts = st.builds(lambda text, times: text * times, anything, st.integers(1, 120))
introductions = st.one_of(st.just(""), st.builds(asked_by, anything, anything))


def undo(body: str) -> str:
    """Take the escapes out again, knowing nothing of how they were chosen."""
    return re.sub(
        r"\\(.)|⟨U\+([0-9A-F]+)⟩",
        lambda found: found[1] or chr(int(found[2], 16)),
        body,
        flags=re.DOTALL,
    )


def bodies(parts: tuple[str, ...], introduction: str = "") -> list[str]:
    first_head = f"{LABEL}\n{introduction}\n" if introduction else f"{LABEL}\n"
    heads = [first_head] + [f"{LABEL}\n"] * (len(parts) - 1)
    assert all(part.startswith(head) for part, head in zip(parts, heads, strict=True))
    return [part[len(head) :] for part, head in zip(parts, heads, strict=True)]


def shown_by_discord(line: str) -> str:
    """What a line is once Discord has read its backslashes."""
    return re.sub(r"\\([^0-9A-Za-z\s])", "\0", line)


@given(long_texts, introductions, st.booleans())
@example("x" * (MAX_UNITS - count_units(f"{LABEL}\n")), "", True)
@example("🤖" * 3000, "", False)
@example("\n" * 4000, "", True)
@example("\u0303" * 4000, "", True)
@example("👩‍" * 2000, "", True)
def test_every_part_is_labelled_and_fits_and_nothing_is_lost(text, introduction, is_running):
    parts = render(text, LABEL, introduction=introduction, is_running=is_running)
    assert all(len(part) <= MAX_UNITS and count_units(part) <= MAX_UNITS for part in parts)
    shown = "".join(bodies(parts, introduction))
    if is_running:
        assert shown.endswith(RUNNING_MARK)
        shown = shown.removesuffix(RUNNING_MARK)
    assert undo(shown) == text


@given(long_texts)
def test_no_line_of_model_text_is_a_label_heading_quote_or_list(text):
    for body in bodies(render(text, LABEL)):
        for line in re.split(r"[\n\r\u2028\u2029\x0b\x0c\x85]", body):
            seen = shown_by_discord(line)
            assert not re.match(r"[\s\u200c\u200d]*(-#|#{1,3}\s|>|[-+*]\s|[0-9]+[.)])", seen)
            assert seen.strip() != LABEL


@given(long_texts)
def test_nothing_in_model_text_is_a_mention_a_link_an_emoji_or_markup(text):
    for body in bodies(render(text, LABEL)):
        seen = shown_by_discord(body)
        assert not set(seen) & set("\\`*_~|<[@")
        assert not re.search(r":\S|/\S", seen)


@given(long_texts)
def test_no_character_of_model_text_is_invisible_or_turns_the_line_around(text):
    for body in bodies(render(text, LABEL)):
        assert not re.search(
            "[\u202a-\u202e\u2066-\u2069\u200b\u2060\ufeff\x00-\x08\x0b-\x1f]", body
        )
        assert not re.search("[\u0300-\u036f]{5}", body)


@given(long_texts, st.data())
def test_a_text_that_grows_never_changes_the_parts_before_the_last(text, data):
    shorter = text[: data.draw(st.integers(0, len(text)))]
    before, after = render(shorter, LABEL, is_running=True), render(text, LABEL)
    assert len(before) <= len(after)
    assert after[: len(before) - 1] == before[:-1]


@given(
    st.lists(
        st.sampled_from(("👩‍👩‍👧‍👦", "🇩🇪", "👍🏽", "e\u0301", "a", " ")), min_size=1, max_size=25
    ),
    st.integers(60, 150),
)
def test_no_part_begins_inside_what_people_see_as_one_character(some, times):
    characters = some * times
    text = "".join(characters)
    ends = {0, *accumulate(len(character) for character in characters)}
    at = 0
    for body in bodies(render(text, LABEL)):
        at += len(undo(body))
        assert at in ends


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
    full = "x" * (MAX_UNITS - count_units(f"{LABEL}\n") - count_units(RUNNING_MARK))
    assert render(full, LABEL, notice="-# Stopped.")[1:] == (f"{LABEL}\n-# Stopped.",)
    assert render("Once", LABEL, notice="-# Stopped.") == (f"{LABEL}\nOnce\n-# Stopped.",)


def test_an_empty_text_is_one_labelled_part():
    assert render("", LABEL, is_running=True) == (f"{LABEL}\n ▌",)


def test_an_introduction_that_leaves_no_room_is_an_error():
    with pytest.raises(ValueError, match="at least 400"):
        render("text", LABEL, introduction="x" * 1800)


@given(st.text(), st.one_of(st.none(), st.text(max_size=20)))
def test_a_models_name_cannot_break_the_label(name, locale):
    line = label(name, locale)
    assert line.startswith("-# 🤖 Machine-generated by GPT-2")
    assert line.endswith("· not written by a person")
    assert len(line.splitlines()) == 1
    assert count_units(line) < 120


@given(anything, long_texts)
@example("\u0303" * 99, "\u0303" * 999)
@example("n", "\n" * 999)
def test_a_quoted_prompt_is_inert_and_leaves_room(name, prompt):
    quote = asked_by(name, prompt)
    assert count_units(quote) < 550
    first, *lines = quote.split("\n")
    assert first.startswith("-# ")
    assert all(line.startswith("> ") for line in lines)
    assert not re.search(r"[`*_~|<\[@]", shown_by_discord(quote).replace("\n> ", "\n"))
