r"""Make text inert: what Discord shows is what was written, letter by letter. Knows no message.

One rule, so that it can be undone exactly (`render`'s tests do):

- A backslash stands before every character that Discord's Markdown gives a meaning to: anywhere
  before ``\ ` * _ ~ | < [ @``; before `:` and `/` where no blank or line end follows, and `.` where
  a letter or digit does (links, invites without a scheme, `:emoji:`); and before `# - + >` and the
  `.` or `)` of a number in the run of white space and such marks that a line begins with (headings,
  subtext, quotes, lists). So there is no heading, no label, no link, no mention and no code block
  that a model could write. `docs/label.md` has the rules as a table, which the tests read.
- A character that is invisible or reorders its neighbours (Unicode categories Cc, Cf, Cs, Zl, Zp,
  and what is ignored by default; except line feed, tab, and the joiners and variation selectors
  that scripts and emoji need) is shown by its number, `⟨U+202E⟩`. So is the fifth and every further
  combining mark on one character, which would otherwise paint over the lines above; and `⟨` itself,
  so that a number never lies.
"""

import string
import unicodedata
from collections.abc import Iterator

from bot.graphemes import cluster_ends

MAX_MARKS = 4
"""Combining marks on one character; Vietnamese, Hebrew and Thai need three."""

_PLAIN = frozenset(string.ascii_letters + " ,;!?'\"(&%$=")
"""Most of a text: never escaped, and each but the blank ends the head of a line."""
_ALWAYS = frozenset("\\`*_~|<[@")
_BEFORE_TEXT = frozenset(":/")
_BLANKS = frozenset(("", " ", "\n", "\t"))
_LINE_MARKS = frozenset("#-+>*")
_NUMBER_ENDS = frozenset(".)")
_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_IGNORED = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2065\u3164\uffa0") | {
    chr(code)
    for code in (*range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE0100), *range(0xE01F0, 0xE1000))
}
"""Letters, marks and unassigned characters that show nothing (Default_Ignorable_Code_Point)."""
_JOINERS = frozenset("\u200c\u200d")
_KEPT = _JOINERS | frozenset("\n\t")


class Escaper:
    """Make one text inert, character by character, beginning at the head of a line."""

    __slots__ = ("_in_head", "_in_number", "_num_marks")

    def __init__(self) -> None:
        self._begin_line()

    def _begin_line(self) -> None:
        self._in_head = True
        self._in_number = False
        self._num_marks = 0

    def escape(self, char: str, following: str) -> str:
        r"""Return the inert form of `char`; `following` is the next character, or empty.

        >>> print(Escaper().escape("#", ""))
        \#
        """
        if char in _PLAIN:
            self._in_head = self._in_head and char == " " and not self._in_number
            self._in_number = False
            self._num_marks = 0
            return char
        if char == "\n":
            self._begin_line()
            return char
        if self._is_unseen(char):
            self._in_head = False
            return f"⟨U+{ord(char):04X}⟩"
        needs_backslash = (
            char in _ALWAYS
            or (char in _BEFORE_TEXT and following not in _BLANKS)
            or (char == "." and following.isalnum())
            or (self._in_head and char in (_NUMBER_ENDS if self._in_number else _LINE_MARKS))
        )
        self._walk_head(char)
        return f"\\{char}" if needs_backslash else char

    def _is_unseen(self, char: str) -> bool:
        category = unicodedata.category(char)
        self._num_marks = self._num_marks + 1 if category in ("Mn", "Me") else 0
        return (
            (category in _INVISIBLE and char not in _KEPT)
            or char in _IGNORED
            or self._num_marks > MAX_MARKS
            or char == "⟨"
        )

    def _walk_head(self, char: str) -> None:
        is_digit = char.isascii() and char.isdigit()
        if self._in_number:
            self._in_head = self._in_head and (is_digit or char in _NUMBER_ENDS)
        else:
            self._in_head = self._in_head and (
                is_digit or char in _LINE_MARKS or char in _JOINERS or char.isspace()
            )
        self._in_number = is_digit


def inert_pieces(text: str, start: int = 0) -> Iterator[tuple[str, int]]:
    r"""Yield the inert form of each character as people see it, and the index after it.

    The text is read as beginning a line at `start`.

    >>> list(inert_pieces("a#b", 1))
    [('\\#', 2), ('b', 3)]
    """
    escaper = Escaper()
    begin = start
    for end in cluster_ends(text, start):
        piece = escaper.escape(text[begin], text[begin + 1 : begin + 2])
        for at in range(begin + 1, end):
            piece += escaper.escape(text[at], text[at + 1 : at + 2])
        yield piece, end
        begin = end


def inert(text: str) -> str:
    r"""Make a whole text inert.

    >>> print(inert("# [Free](https://example.com) for <@1> at 9:30"))
    \# \[Free](https\:\/\/example\.com) for \<\@1> at 9\:30
    """
    return "".join(piece for piece, _ in inert_pieces(text))


def count_units(text: str) -> int:
    """Count UTF-16 code units.

    >>> count_units("né"), count_units("🤖")
    (2, 2)
    """
    return len(text) if text.isascii() else len(text) + sum(char > "\uffff" for char in text)


def inert_start(text: str, max_units: int) -> str:
    r"""Make as much of a text inert as fits, with an ellipsis where it does not.

    >>> inert_start("two words", 6), inert_start("<@1>", 4)
    ('two w…', '\\<…')
    """
    pieces: list[str] = []
    used = 0
    for piece, end in inert_pieces(text):
        used += count_units(piece)
        if used > max_units - (end < len(text)):
            return "".join([*pieces, "…"])
        pieces.append(piece)
    return "".join(pieces)


def inert_line(text: str, max_units: int) -> str:
    r"""Make a name or a sentence inert, on one line.

    >>> inert_line("two\nlines and  more", 12)
    'two lines a…'
    """
    return inert_start(" ".join(text.split()), max_units)
