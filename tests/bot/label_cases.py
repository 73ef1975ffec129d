"""Texts, labels and lengths made to be hard to lay out, and what must hold of every layout.

The checks know nothing of how escapes and cuts are chosen: they read the messages as Discord does.
"""

import random
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

import regex

from bot.graphemes import MAX_CLUSTER_CHARS
from bot.label import MAX_NOTE_CHARS, label
from bot.render import MAX_UNITS, MIN_ROOM_UNITS, RUNNING_MARK, render
from bot.replies import asked_by
from wire.label import WORDINGS

LABEL = label("124M")
FRAGMENTS = (
    *"#-+>*_~|`<>[]()@:/\\.!1 \n\t\u00a0\u3000",
    *("-# ", "### ", "> ", ">>> ", "```", "```py\n", "||", "**", "[x](https://example.com)"),
    *("@everyone", "@here", "<@1>", "<@&1>", "<#1>", "</generate:1>", "<id:customize>", "<t:1:R>"),
    *("https://example.com/a_b", "discord.gg/abc", ":robot:", "<:ovid:1>", "1. ", "12) ", "\n\n"),
    *("www.example.com", "mailto:a@b.example", "<+15555550123>", "¯\\_(ツ)_/¯", "\x1b[31m"),
    *(LABEL, f"{LABEL}\n", label("124M", "de"), "⟨U+202E⟩", "⟨", "\U000e0067", "\u0600"),
    *("\u202e", "\u2066", "\u200b", "\u2060", "\ufeff", "\r", "\u2028", "\x00", "\x85", "\x1c"),
    *("👩‍👩‍👧‍👦", "🇩🇪", "👍🏽", "#️⃣", "e\u0301", "n" + "\u0303" * 40, "각", "ᄀ", "ᅡ", "क्ष", "กำ"),
    *("\u200d", "\u200c", "\u0d4e", "ﾊﾞ", "שלום", "word", "two words ", "Once upon a time, "),
)
PRINTABLE = [chr(code) for code in range(0x20, 0x7F)]
MEAN_TEXT_CHARS, MAX_TEXT_CHARS = 130, 6000

_UNDO = re.compile(r"\\(.)|⟨U\+([0-9A-F]+)⟩", re.DOTALL)
_ESCAPE = re.compile(r"\\[^0-9A-Za-z\s]")
_LINE_END = r"\n\r\u2028\u2029\x0b\x0c\x85"
_MARKUP = re.compile(
    r"[\\`*_~|<\[@]"  # emphasis, code, spoilers, mentions, masked links
    r"|:\S|/\S|\.\w"  # addresses, invites, `:emoji:`
    rf"|(?:^|[{_LINE_END}])[\s\u200c\u200d]*(?:-#|\#|>|[-+]\s|[0-9]+[.)])"  # at a line's head
    r"|[\u202a-\u202e\u2065-\u2069\u200b\u200e\u200f\u2060-\u2064\ufeff\u3164\ufff0-\ufff8]"
    r"|[\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
    r"|[\x01-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]"
    r"|[\u0300-\u036f]{5}"
)
_CONJUNCT = re.compile(r"[\u094d\u0d4d]\w*$")


@dataclass(frozen=True, slots=True)
class Case:
    """A reply as it may have to be laid out; `earlier` characters of it were there before."""

    text: str
    label: str = LABEL
    introduction: str = ""
    is_running: bool = False
    earlier: int = 0


def units(text: str) -> int:
    """Count UTF-16 code units, as Discord's own client does."""
    return len(text.encode("utf-16-le")) // 2


def undo(body: str) -> str:
    """Take the escapes out again, knowing nothing of how they were chosen."""
    return _UNDO.sub(lambda found: found[1] or chr(int(found[2], 16)), body)


def markup_in(body: str) -> re.Match[str] | None:
    """Find what Discord would read as more than letters, once it has read the backslashes."""
    return _MARKUP.search(_ESCAPE.sub("\0", body))


def check(case: Case) -> int:
    """See that a reply is laid out as `docs/label.md` promises; return its number of parts."""
    parts = render(
        case.text, case.label, introduction=case.introduction, is_running=case.is_running
    )
    assert all(units(part) <= MAX_UNITS for part in parts)
    heads = [f"{case.label}\n"] * len(parts)
    if case.introduction:
        heads[0] += f"{case.introduction}\n"
    assert all(part.startswith(head) for part, head in zip(parts, heads, strict=True))
    bodies = [part[len(head) :] for part, head in zip(parts, heads, strict=True)]
    if case.is_running:
        assert bodies[-1].endswith(RUNNING_MARK)
        bodies[-1] = bodies[-1].removesuffix(RUNNING_MARK)
    written = [undo(body) for body in bodies]
    assert "".join(written) == case.text
    for body in bodies:
        assert not (found := markup_in(body)), ascii(found)
    if len(parts) > 1:
        _check_cuts(case.text, accumulate(map(len, written[:-1])))
    if case.earlier:
        before = render(
            case.text[: case.earlier],
            case.label,
            introduction=case.introduction,
            is_running=True,
        )
        assert len(before) <= len(parts)
        assert parts[: len(before) - 1] == before[:-1]
    return len(parts)


def _check_cuts(text: str, cuts: Iterator[int]) -> None:
    """See that no character as people see it lies in two parts, by `regex`'s idea of characters."""
    ends = [0, *accumulate(map(len, regex.findall(r"\X", text)))]
    known = set(ends)
    for cut in cuts:
        if cut in known or _may_be_cut_at(text[cut - 1]) or _may_be_cut_at(text[cut]):
            continue
        # A heap is counted over joiners, also where they join nothing.
        begin = max(
            end for end in ends if end < cut and not (end and "\u200d" in text[end - 1 : end + 1])
        )
        end = min(end for end in ends if end > cut)
        is_heap = end - begin > MAX_CLUSTER_CHARS
        # Two Indic consonants with marks of other scripts between them.
        assert is_heap or _CONJUNCT.search(text[begin:cut]), ascii(text[begin:end])


def _may_be_cut_at(char: str) -> bool:
    """Whether it is shown by number, or newer than what this Python knows of Unicode."""
    if char in "\n\u200c\u200d":
        return False
    is_ignored = 0xE0000 <= ord(char) < 0xE1000 or char in "\u034f\u115f\u1160\u3164\uffa0"
    return is_ignored or unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cn")


def cases(seed: int) -> Iterator[Case]:
    """Yield cases for ever, the same for the same seed.

    Three of four have a label that leaves little room, so that short texts are split as well.
    """
    rng = random.Random(seed)
    while True:
        text = _text(rng)
        earlier = rng.randrange(len(text) + 1) if rng.random() < 0.25 else 0
        is_running = rng.random() < 0.5
        if rng.random() < 0.75:
            yield Case(text, _long_label(rng), "", is_running, earlier)
        else:
            quote = asked_by(_text(rng), _text(rng)) if rng.random() < 0.5 else ""
            yield Case(text, _real_label(rng), quote, is_running, earlier)


def _real_label(rng: random.Random) -> str:
    note = "".join(rng.choices(PRINTABLE, k=rng.randrange(MAX_NOTE_CHARS)))
    return label(_text(rng), rng.choice(list(WORDINGS)), note)


def _long_label(rng: random.Random) -> str:
    room = MAX_UNITS - units(f"{LABEL}\n-# \n{RUNNING_MARK}") - MIN_ROOM_UNITS
    return f"{LABEL}\n-# {'x' * (room - rng.randrange(60))}"


def _text(rng: random.Random) -> str:
    num_chars = min(int(rng.expovariate(1 / MEAN_TEXT_CHARS)), MAX_TEXT_CHARS)
    return rng.choice(_KINDS)(rng, num_chars)[:MAX_TEXT_CHARS]


def _soup(rng: random.Random, num_chars: int) -> str:
    return "".join(rng.choices(FRAGMENTS, k=num_chars // 3))


def _few_fragments(rng: random.Random, num_chars: int) -> str:
    few = rng.sample(FRAGMENTS, rng.randrange(1, 5))
    return "".join(rng.choices(few, k=num_chars // 3))


def _printable(rng: random.Random, num_chars: int) -> str:
    return "".join(rng.choices(PRINTABLE, k=num_chars))


def _anything(rng: random.Random, num_chars: int) -> str:
    codes = (rng.randrange(0x110000) for _ in range(num_chars))
    return "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)


_KINDS: list[Callable[[random.Random, int], str]] = [_soup, _few_fragments, _printable, _anything]
