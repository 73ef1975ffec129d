"""Owns what a pasted text may have been when it was written. Knows neither tokens nor keys.

A change that is made once costs the mark the few tokens around it, and nobody needs to undo it.
What is undone here is what happens to a whole text: quoting, escaping, word processing, resetting
its lines. Every reading more multiplies the p-value, so they are few.
"""

import html
import re
import unicodedata

_LABEL = re.compile(r"^.*🤖.*\n?", re.MULTILINE)
"""In any language: a line with the emoji is the label, wherever in the text a message begins."""
_QUOTED = re.compile(r"^[ \t]*>[> \t]*", re.MULTILINE)
_FENCE = re.compile(r"^ {0,3}(?:```|~~~).*\n?", re.MULTILINE)
_NUMBERED = re.compile(r"⟨U\+([0-9A-F]{4,6})⟩")
_ESCAPED = re.compile(r"\\([^A-Za-z0-9\s])")
_LINE_ENDS = re.compile(r"\r\n?|[\x85\u2028\u2029]")
_BLANKS = re.compile(r"[^\S\n]+")
_LINE_BREAKS = re.compile(r"\n+")
_FIXED_SPACES = "\u00a0\u202f\u2007"

_QUOTES_AND_DASHES = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'),
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032", "'"),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"),
        **dict.fromkeys("\u2014\u2015", "--"),
        "\u2026": "...",
    }
)
"""What word processors put for what was typed."""
_FORMS = {
    code: unicodedata.normalize("NFKC", chr(code))
    for first, last in ((0xFB00, 0xFB06), (0xFF01, 0xFF5E), (0x1D400, 0x1D7FF))
    for code in range(first, last + 1)
}
"""Ligatures as printed pages have them, letters of full width, and those of mathematics."""
_ALIKE = str.maketrans(
    "аеорсухіјѕһԁԛԝАВЕКМНОРСТХУІЈЅαοΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",  # noqa: RUF001 - that they look alike is the point
    "aeopcyxijshdqwABEKMHOPCTXYIJSaoABEZHIKMNOPTYX",
)
_WORD = re.compile(r"\w+")
_LATIN = re.compile(r"[A-Za-z]")


def readings(text: str) -> list[str]:
    r"""Return what a text may have been, each once; as it was pasted first.

    >>> readings("-# 🤖 Machine-generated\n> It\\'s “so”")
    ["-# 🤖 Machine-generated\n> It\\'s “so”", "It's “so”", 'It\'s "so"']
    >>> readings("one\ntwo\n\nthree")
    ['one\ntwo\n\nthree', 'one two\n\nthree', 'one\ntwo\nthree']
    """
    plain = _unquoted(text)
    typed = _as_typed(plain)
    return list(dict.fromkeys((text, plain, typed, _rewrapped(typed), _closed_up(typed))))


def _unquoted(text: str) -> str:
    """Take off what a text got when it was shown and copied: label, quote marks, escapes."""
    text = _LINE_ENDS.sub("\n", html.unescape(text))
    text = _FENCE.sub("", _QUOTED.sub("", _LABEL.sub("", text)))
    text = "".join(" " if char in _FIXED_SPACES else char for char in text if _is_seen(char))
    text = "\n".join(line.strip() for line in text.split("\n"))
    return _NUMBERED.sub(lambda found: _character(found[1]), _ESCAPED.sub(r"\1", text))


def _as_typed(text: str) -> str:
    """Put what a keyboard has for what word processors and tricksters put in its place."""
    text = text.translate(_QUOTES_AND_DASHES).translate(_FORMS)
    # Only beside letters that are Latin: words of other scripts stay.
    return _WORD.sub(lambda word: _latin(word[0]), text)


def _latin(word: str) -> str:
    return word.translate(_ALIKE) if not word.isascii() and _LATIN.search(word) else word


def _rewrapped(text: str) -> str:
    """Join the lines of each paragraph, and write every gap as one blank."""
    text = _LINE_BREAKS.sub(lambda breaks: " " if breaks[0] == "\n" else "\n\n", text)
    return _BLANKS.sub(" ", text)


def _closed_up(text: str) -> str:
    """Take out the empty line that was put between each two lines."""
    text = _LINE_BREAKS.sub(lambda breaks: "\n" * ((len(breaks[0]) + 1) // 2), text)
    return _BLANKS.sub(" ", text)


def _is_seen(char: str) -> bool:
    return char.isascii() or unicodedata.category(char) != "Cf"


def _character(number: str) -> str:
    code = int(number, 16)
    return chr(code) if code <= 0x10FFFF and not 0xD800 <= code < 0xE000 else f"⟨U+{number}⟩"
