"""`docs/label.md` against the code: each row of its tables is a test."""

import re
from collections.abc import Sequence

import discord
import pytest

from bot.render import render
from tests.bot.label_cases import LABEL, markup_in
from tests.bot.support import CHECKOUT
from wire.label import sentence

DOCUMENT = (CHECKOUT / "docs" / "label.md").read_text(encoding="utf-8")
_CODE = re.compile(r"(`+)( ?)(.+?)\2\1(?!`)")


def table(first_head: str) -> list[tuple[str, ...]]:
    """The cells of the table that begins with such a heading."""
    lines = DOCUMENT[DOCUMENT.index(f"\n| {first_head} |") + 1 :].partition("\n\n")[0].split("\n")
    return [tuple(line.strip("| ").split(" | ")) for line in lines[2:]]


def read(cell: str) -> str:
    """The text that a cell stands for."""
    found = _CODE.fullmatch(cell)
    assert found, cell
    plain = found[3].replace("↵", "\n").replace("¦", "|").replace("␠", " ")
    return re.sub(r"⟦U\+([0-9A-F]+)⟧", lambda number: chr(int(number[1], 16)), plain)


def read_sum(cell: str) -> str:
    """The text that a sum of codes stands for, each as often as is said before it."""
    counted = [piece.rpartition(" \N{MULTIPLICATION SIGN} ") for piece in cell.split(" + ")]
    return "".join(int(times or 1) * read(code) for times, _, code in counted)


ESCAPING = table("rule | the model writes | the message holds")
SPLITTING = table("rule | the model writes | the first part ends with")
LANGUAGES = table("Discord's locale")


@pytest.mark.parametrize("row", ESCAPING, ids=[row[0] for row in ESCAPING])
def test_text_becomes_what_the_document_says(row: Sequence[str]):
    _, writes, holds, seen, why = row
    [message] = render(read(writes), LABEL)
    assert message == f"{LABEL}\n{read(holds)}"
    assert re.sub(r"\\([^0-9A-Za-z\s])", r"\1", read(holds)) == read(seen)
    assert markup_in(read(holds)) is None
    assert why


@pytest.mark.parametrize("row", SPLITTING, ids=[row[0] for row in SPLITTING])
def test_a_long_text_is_cut_where_the_document_says(row: Sequence[str]):
    _, writes, ends, begins = row
    first, second, *_ = render(read_sum(writes), LABEL)
    assert first.endswith(read(ends))
    assert second.startswith(f"{LABEL}\n{read(begins)}")


def test_every_kind_of_markup_that_discord_has_stands_in_the_document():
    rules = {row[0] for row in ESCAPING}
    asked = {"mention", "everyone", "channel", "slash command", "server guide", "time", "address"}
    asked |= {"invite", "masked link", "heading", "subtext", "label", "quote", "list", "emphasis"}
    asked |= {"spoiler", "code", "code block", "colours", "emoji by name", "e-mail and telephone"}
    assert asked <= rules


def test_the_documents_labels_are_those_of_the_code():
    told = {locale.strip(): text for locales, text, _ in LANGUAGES for locale in locales.split(",")}
    assert told.pop("any other") == sentence("124M", "xx") == sentence("124M")
    assert told == {str(locale): sentence("124M", str(locale)) for locale in discord.Locale}
    assert all(literally for _, _, literally in LANGUAGES)
