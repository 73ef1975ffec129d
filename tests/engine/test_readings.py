"""What a pasted text may have been: few things, never a failure, and in time whatever it is."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.readings import readings

MOST_READINGS = 5
KIB_64 = 64 * 1024


@pytest.mark.parametrize(
    "text", ["", "⟨U+110000⟩", "⟨U+D800⟩", "\\", "> > >", "🤖", "\\\\\\#", "&#xD800;"]
)
def test_readings_never_fail_whatever_is_pasted(text: str):
    found = readings(text)
    assert found[0] == text
    assert len(set(found)) == len(found) <= MOST_READINGS
    for reading in found:
        assert reading.encode().decode() == reading


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_has_few_readings_the_first_as_it_stands(text: str):
    found = readings(text)
    assert found[0] == text
    assert len(found) <= MOST_READINGS
    assert all(reading.encode().decode() == reading for reading in found)


def test_a_plain_text_of_one_paragraph_has_no_other_reading():
    assert readings("It's 9:30 - nothing to undo.") == ["It's 9:30 - nothing to undo."]


@pytest.mark.parametrize(
    ("pasted", "written"),
    [
        ("> > a\n>b\n>>> c", "a\nb\nc"),
        ("```py\ncode\n```\n", "code\n"),
        ("⟨U+202E⟩ and ⟨U+1F600⟩", "\u202e and 😀"),
        ("&quot;A&amp;B&#39;s&quot;", '"A&B\'s"'),
        ("so\u00adft hy\u200bphen\ufeff", "soft hyphen"),
        ("ﬁne ﬂow", "fine flow"),
        ("Ｆｕｌｌ ｗｉｄｔｈ", "Full width"),  # noqa: RUF001
        ("рrоbаblе", "probable"),  # noqa: RUF001
        ("«A» – “b” … ‘c’ — d", '"A" - "b" ... \'c\' -- d'),  # noqa: RUF001
        ("one\r\ntwo\u2028three", "one\ntwo\nthree"),
    ],
)
def test_what_was_written_is_among_the_readings_of_what_was_pasted(pasted: str, written: str):
    assert written in readings(pasted)


def test_a_word_of_another_script_stays_as_it_is():
    assert all("мир" in reading for reading in readings("A “мир” apart"))


@pytest.mark.parametrize(
    "piece",
    [" ", "\n", "> ", ">", "\\", "🤖", "`", "&", "&amp", "⟨U+", "\u200b", "a ", " \t", "ﷺ", "x"],
)
def test_no_text_takes_long_or_grows(piece: str):
    text = piece * (KIB_64 // len(piece.encode()))
    # Of this thread alone: whatever else the machine or the process does meanwhile is not in it.
    began_s = time.thread_time()
    found = readings(text)
    assert time.thread_time() - began_s < 1.0
    assert max(len(reading.encode()) for reading in found) <= len(text.encode())
