"""Owns how a GPT-2 vocabulary is read from its two files, and that they agree with each other.

`encoder.json` (or `vocab.json`) maps each token to its id, `vocab.bpe` (or `merges.txt`) lists
the merges in order of rank. Both write bytes as the printable characters of `byte_alphabet`.
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

END_OF_TEXT = "<|endoftext|>"
ENCODER_NAMES = ("encoder.json", "vocab.json")
MERGES_NAMES = ("vocab.bpe", "merges.txt")


class VocabularyError(ValueError):
    """The vocabulary files are missing, damaged, or do not belong together."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A vocabulary as bytes and ids.

    Attributes:
        token_bytes: the bytes of each token, by id; empty for an id that no token has.
        byte_ids: the id of each of the 256 single bytes.
        merges: `(left id, right id) -> (rank, merged id)`; a lower rank merges first.
        eot: the id of `<|endoftext|>`.
    """

    token_bytes: tuple[bytes, ...]
    byte_ids: tuple[int, ...]
    merges: dict[tuple[int, int], tuple[int, int]]
    eot: int


@functools.cache
def byte_alphabet() -> dict[str, int]:
    """Return the character that stands for each byte in GPT-2's files, as `character -> byte`.

    Printable Latin-1 characters stand for themselves; the other bytes take, in order, the
    characters from U+0100 on.

    Source: `bytes_to_unicode` in openai/gpt-2:src/encoder.py.

    >>> byte_alphabet()["A"], byte_alphabet()["Ġ"]
    (65, 32)
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet |= {chr(256 + place): byte for place, byte in enumerate(others)}
    return alphabet


def read_vocabulary(encoder_path: Path, merges_path: Path) -> Vocabulary:
    """Read and check a vocabulary.

    Raises:
        VocabularyError: a file is missing or damaged, or the two do not agree.
    """
    token_ids = _read_encoder(encoder_path)
    try:
        merge_lines = merges_path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"cannot read the merges in {merges_path}: {error}"
        raise VocabularyError(msg) from error
    if merge_lines[0].startswith("#version"):
        del merge_lines[0]
    if END_OF_TEXT not in token_ids:
        msg = f"{encoder_path} has no token {END_OF_TEXT}"
        raise VocabularyError(msg)
    try:
        byte_ids = {byte: token_ids[char] for char, byte in byte_alphabet().items()}
    except KeyError as error:
        msg = f"{encoder_path} has no token for the byte written as {error}"
        raise VocabularyError(msg) from error
    return Vocabulary(
        token_bytes=_token_bytes(token_ids, encoder_path),
        byte_ids=tuple(byte_ids[byte] for byte in range(256)),
        merges=_merges(merge_lines, token_ids, merges_path),
        eot=token_ids[END_OF_TEXT],
    )


def find_vocabulary(folder: Path) -> tuple[Path, Path]:
    """Return the paths of the token table and the merges in a model folder.

    Raises:
        VocabularyError: one of them is not there.
    """
    found = []
    for names in (ENCODER_NAMES, MERGES_NAMES):
        paths = [folder / name for name in names if (folder / name).is_file()]
        if not paths:
            msg = f"{folder} holds no vocabulary: {' or '.join(names)} is missing"
            raise VocabularyError(msg)
        found.append(paths[0])
    return found[0], found[1]


def _read_encoder(path: Path) -> dict[str, int]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"cannot read the token table in {path}: {error}"
        raise VocabularyError(msg) from error
    if not (
        table and isinstance(table, dict) and all(type(value) is int for value in table.values())
    ):
        msg = f"{path} is not a table of tokens and their ids"
        raise VocabularyError(msg)
    ids = set(table.values())
    if len(ids) != len(table) or min(ids) < 0 or max(ids) > 2 * len(ids) + 1024:
        msg = f"{path} gives an id twice, a negative one, or one far beyond its {len(ids)} tokens"
        raise VocabularyError(msg)
    return table


def _token_bytes(token_ids: dict[str, int], path: Path) -> tuple[bytes, ...]:
    alphabet = byte_alphabet()
    by_id = [b""] * (max(token_ids.values()) + 1)
    for token, token_id in token_ids.items():
        if token == END_OF_TEXT:
            by_id[token_id] = token.encode()
            continue
        try:
            by_id[token_id] = bytes(alphabet[char] for char in token)
        except KeyError as error:
            msg = f"{path}: token {token!r:.80} holds {error}, which stands for no byte"
            raise VocabularyError(msg) from error
    return tuple(by_id)


def _merges(
    lines: list[str], token_ids: dict[str, int], path: Path
) -> dict[tuple[int, int], tuple[int, int]]:
    merges = {}
    for rank, line in enumerate(filter(None, lines)):
        left, _, right = line.partition(" ")
        try:
            pair = token_ids[left], token_ids[right]
            merges[pair] = rank, token_ids[left + right]
        except KeyError as error:
            said = f"the merge {line!r:.80} needs the token {error!s:.80}, which the table lacks"
            msg = f"{path}: {said}"
            raise VocabularyError(msg) from error
        if left + right == END_OF_TEXT:
            msg = f"{path}: the merge {line!r:.80} would make {END_OF_TEXT} of what a person wrote"
            raise VocabularyError(msg)
    return merges
