"""GPT-2's encoding as OpenAI published it, told again in the slowest and plainest way.

A piece becomes characters, one for each byte. Then, again and again: of all neighbours find the
pair that stands earliest in the list of merges, and glue every occurrence of it, from the left,
until no pair is in the list. What is left are tokens, and the table has their numbers. It shares
nothing with the codec: it reads the files itself and compares strings.
"""

import json
from itertools import pairwise
from pathlib import Path

import regex

from codec.unicode16 import LETTERS, NUMBERS, Ranges

PUBLISHED = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


class PublishedEncoder:
    """OpenAI's algorithm. Each piece's tokens are remembered without bound, as there."""

    def __init__(self, encoder_path: Path, merges_path: Path) -> None:
        self.table: dict[str, int] = json.loads(encoder_path.read_text(encoding="utf-8"))
        lines = merges_path.read_text(encoding="utf-8").split("\n")
        pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
        self.rank = {(left, right): rank for rank, (left, right) in enumerate(pairs)}
        self.letter_of_byte = self._letters()
        self.pattern = regex.compile(PUBLISHED)
        self.known: dict[str, list[str]] = {}

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for piece in self.pattern.findall(text):
            written = "".join(self.letter_of_byte[byte] for byte in piece.encode("utf-8"))
            ids.extend(self.table[token] for token in self.tokens(written))
        return ids

    def tokens(self, written: str) -> list[str]:
        if written not in self.known:
            self.known[written] = self._merge(list(written))
        return self.known[written]

    def _merge(self, parts: list[str]) -> list[str]:
        while True:
            pairs = {pair for pair in pairwise(parts) if pair in self.rank}
            if not pairs:
                return parts
            parts = _glued(parts, min(pairs, key=self.rank.__getitem__))

    @staticmethod
    def _letters() -> dict[int, str]:
        plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
        spare = iter(range(256, 512))
        return {byte: chr(byte if byte in plain else next(spare)) for byte in range(256)}


def _glued(parts: list[str], pair: tuple[str, str]) -> list[str]:
    glued = []
    place = 0
    while place < len(parts):
        if tuple(parts[place : place + 2]) == pair:
            glued.append("".join(pair))
            place += 2
        else:
            glued.append(parts[place])
            place += 1
    return glued


def characters(ranges: Ranges) -> set[str]:
    return {chr(point) for low, high in ranges for point in range(low, high + 1)}


def every_character() -> str:
    return "".join(chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000)


def differently_classed() -> set[str]:
    """Return the characters that the installed `regex` calls a letter or number and we do not.

    Or the other way round: its tables are of another release of Unicode than tiktoken's and ours.
    """
    every = every_character()
    letters = characters(LETTERS) ^ set(regex.findall(r"\p{L}", every))
    return letters | (characters(NUMBERS) ^ set(regex.findall(r"\p{N}", every)))
