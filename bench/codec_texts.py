"""Owns the texts that the codec is measured on: English, invented Unicode, and the worst pieces.

English is WikiText-2's test split, which people wrote, and then what GPT-2 itself wrote. No natural
text in many scripts is at hand, so the mixed text is invented: for each script a lexicon of random
words over its letters, the letters and the words as unequally common as Zipf's law has it, in
sentences of 6 to 24 words with the script's punctuation, some with an emoji; Chinese, Japanese and
Thai without spaces. Python code and the lines of llama.cpp's tokenizer tests stand between.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle, islice
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
TEXT_BYTES = 10_000_000
LEXICON_WORDS = 40_000
EMOJI = ("🙂", "🎉", "👍🏽", "👩\u200d🚀", "❤\ufe0f", "🇫🇷")


@dataclass(frozen=True, slots=True)
class Script:
    """How a script's words look.

    Attributes:
        letters: first and last letter of each range.
        lengths: letters of the shortest and of the longest word.
        gap: what stands between words.
        comma: what stands in the middle of a sentence.
        stop: what ends it.
    """

    letters: Sequence[str]
    lengths: tuple[int, int]
    gap: str = " "
    comma: str = ", "
    stop: str = ". "


SCRIPTS = {
    "Latin": Script(("az", "az", "az", "àö", "øž"), (2, 10)),
    "Cyrillic": Script(("ая",), (2, 10)),
    "Greek": Script(("αω",), (2, 10)),
    "Arabic": Script(("اغ", "في"), (2, 8), comma="، "),
    "Hebrew": Script(("את",), (2, 7)),
    "Devanagari": Script(("अह", "ा्"), (2, 8), stop="। "),
    "Hangul": Script(("가힣",), (1, 4)),
    "Thai": Script(("กฺ", "เ๎"), (2, 7), gap="", comma=" ", stop=" "),
    "Chinese": Script(("一忿",), (1, 3), gap="", comma="\uff0c", stop="。"),
    "Japanese": Script(("あん", "アン", "一乿"), (2, 6), gap="", comma="、", stop="。"),
}
WORST = {
    "one letter": "a",
    "random letters": "abcdefghijklmnopqrstuvwxyz",
    "spaces": " ",
    "newlines": "\n",
    "digits": "0123456789",
    "one ideograph": "字",
    "random ideographs": "".join(map(chr, range(0x4E00, 0x5E00))),
    "kana": "".join(map(chr, range(0x30A2, 0x30F3))),
    "emoji": "".join(map(chr, range(0x1F600, 0x1F640))),
    "apostrophes": "'",
}


def english() -> str:
    """Return 10 MB of English."""
    paths = [DATA / "eval/wikitext2/wiki.test.raw", *sorted((DATA / "text").glob("gpt2-*/*.txt"))]
    return _cut("".join(path.read_bytes().decode() for path in paths))


def mixed_unicode() -> str:
    """Return 10 MB in many scripts, the same every time."""
    rng = random.Random(2019)
    goldens = DATA / "tokenizer-goldens/llama.cpp/ggml-vocab-gpt-2.gguf.inp"
    code = "".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("codec/*.py")))
    sources: list[Iterator[str]] = [sentences(script, rng) for script in SCRIPTS.values()]
    sources += [
        cycle(line + "\n" for line in goldens.read_bytes().decode().split("\n")),
        cycle(line + "\n" for line in code.split("\n")),
    ]
    parts = []
    num_bytes = 0
    for source in cycle(sources):
        # As many bytes of each, a paragraph at a time.
        paragraph_bytes = 0
        while paragraph_bytes < 2000:
            sentence = next(source)
            parts.append(sentence)
            paragraph_bytes += len(sentence.encode())
        parts.append("\n\n")
        num_bytes += paragraph_bytes + 2
        if num_bytes > TEXT_BYTES:
            break
    return _cut("".join(parts))


def sentences(script: Script, rng: random.Random) -> Iterator[str]:
    """Yield invented sentences of a script for ever."""
    ranges = (range(ord(ends[0]), ord(ends[1]) + 1) for ends in script.letters)
    letters = [chr(point) for each in ranges for point in each]
    rng.shuffle(letters)
    lexicon = list(dict.fromkeys(islice(_words(script, letters, rng), LEXICON_WORDS)))
    weights = list(accumulate(1 / (rank + 2.7) for rank in range(len(lexicon))))
    while True:
        words = rng.choices(lexicon, cum_weights=weights, k=rng.randint(6, 24))
        half = len(words) // 2
        yield script.gap.join(words[:half]) + script.comma + script.gap.join(words[half:])
        yield script.stop if rng.random() < 0.9 else f" {rng.choice(EMOJI)}{script.stop}"


def worst(alphabet: str, num_chars: int) -> str:
    """Return a text that is one piece, or one piece for each character."""
    return "".join(random.Random(7).choices(alphabet, k=num_chars))


def _words(script: Script, letters: Sequence[str], rng: random.Random) -> Iterator[str]:
    weights = list(accumulate(1 / (rank + 3) for rank in range(len(letters))))
    while True:
        length = rng.randint(*script.lengths)
        yield "".join(rng.choices(letters, cum_weights=weights, k=length))


def _cut(text: str) -> str:
    return text.encode()[:TEXT_BYTES].decode(errors="ignore")
