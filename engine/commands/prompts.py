"""Owns how a prompt gives way where it is longer than the context: whole parts, whole sentences.

Plain text in, plain text out: knows no model and no tokenizer.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace

SENTENCE_END = re.compile(
    r"""(?<!\b[A-Z])(?<!\bMr)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bMrs)[.!?…]+["'”’»)\]]*(?=\s)"""
    r"|(?<=\S)(?=[ \t]*\n)"
)
"""Behind a full stop that is no initial's or title's, and at the end of a line."""

Keep = Callable[[str], tuple[str, bool]]
"""From what the model has written so far to what of it counts, and whether that is all."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text for the model to go on from, some of which may give way where a context is short.

    Attributes:
        document: may lose its end.
        parts: the first may go, since it stands farthest from what is asked.
        ending: stays whole.
        parts_are: what a person is told of them.
    """

    document: str
    parts: tuple[str, ...]
    ending: str
    parts_are: str = "examples"

    @property
    def text(self) -> str:
        """Return the prompt."""
        return self.document + "".join(self.parts) + self.ending


def end_of_sentence(text: str, number: int) -> int | None:
    """Return where the so-manyth sentence ends, or None while it has not ended for certain.

    >>> text = "Mr. Hale left. It rained! And"
    >>> text[: end_of_sentence(text, 2)]
    'Mr. Hale left. It rained!'
    """
    begin = 0
    for found in SENTENCE_END.finditer(text):
        if text[begin : found.end()].strip():
            number -= 1
            begin = found.end()
        if number == 0:
            return begin
    return None


def fit(prompt: Prompt, num_tokens: Callable[[str], int], most: int) -> tuple[str, str]:
    """Shorten a prompt to so many tokens, if it gives way so far, and say what was left out.

    Args:
        prompt: whose parts go first, and then the end of its document.
        num_tokens: counts.
        most: tokens that there is room for.

    Returns:
        The prompt, which is still too long where the ending alone is, and a sentence, empty if
        nothing was left out.
    """

    def fits(num_gone: int) -> bool:
        return num_tokens(replace(prompt, parts=prompt.parts[num_gone:]).text) <= most

    num_gone = bisect_left(range(len(prompt.parts)), x=True, key=fits)
    shorter = replace(prompt, parts=prompt.parts[num_gone:])
    left_out = []
    if num_gone:
        left_out.append(f"{num_gone} of {len(prompt.parts)} {prompt.parts_are}")
    if num_tokens(shorter.text) > most:
        shorter = _cut_document(shorter, num_tokens, most)
    if shorter.document != prompt.document:
        left_out.append(f"the input behind its first {len(shorter.document)} characters")
    said = f"the context is too short for all of it: left out {' and '.join(left_out)}"
    return shorter.text, said if left_out else ""


def _cut_document(prompt: Prompt, num_tokens: Callable[[str], int], most: int) -> Prompt:
    document = prompt.document

    def length(end: int) -> int:
        return num_tokens(replace(prompt, document=document[:end]).text)

    # At the end of a sentence if possible: what breaks off in the middle would be continued.
    for pattern in (SENTENCE_END, re.compile(r"(?<=\S)(?=\s)")):
        ends = [found.end() for found in pattern.finditer(document)]
        num_fitting = bisect_right(ends, most, key=length)
        if num_fitting:
            return replace(prompt, document=document[: ends[num_fitting - 1]])
    return prompt
