"""Owns the Winograd schemas: which of two a pronoun stands for.

Each candidate takes the pronoun's place. Full scoring compares the probabilities of the whole
sentences; partial scoring those of the words behind the candidate, given the words up to it (Trinh
and Le 2018, section 3; the paper's figure is the partial one: Radford et al. 2019, section 3.4).
End of text stands before the sentence, so that its first word has a probability too.

Both known files are read: `WSCollection.xml`, of whose 285 schemas the first 273 are WSC273, and
`wsc273.txt`, blocks of four lines: sentence with [MASK], [MASK], both candidates, the right one.
The latter does not say which pronoun [MASK] was, so there no candidate gets a genitive's s.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from engine.evaluate.task import (
    InvalidDataError,
    Metric,
    Prepared,
    Request,
    Scores,
    Setting,
    decode,
    read_bytes,
    share,
)

WSC273 = 273
MASK = "[MASK]"
LETTERS = "AB"
POSSESSIVES = frozenset({"my", "your", "his", "her", "its", "our", "their"})
"""`her` is an object elsewhere, but never in the collection."""
PERSONAL = frozenset({"he", "she", "they", "him", "them"})
LOWERED = frozenset({"a", "an", "the", *POSSESSIVES})
"""What loses its capital letter inside a sentence; names keep theirs."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema; all white space in it is single spaces, none at an end."""

    line: int
    """Where it begins in its file."""
    before: str
    pronoun: str
    """Empty: not known."""
    after: str
    candidates: tuple[str, str]
    answer: int

    def up_to(self, candidate: str) -> str:
        """Return the sentence up to and with a candidate in the pronoun's place.

        >>> Schema(1, "Jim gave", "his", "glass away.", ("The man", "Jim"), 1).up_to("The man")
        "Jim gave the man's"
        """
        first, _, rest = candidate.partition(" ")
        begins = self.pronoun.istitle() if self.pronoun else self.before[-1:] in ("", *".!?")
        if begins:
            first = first[:1].upper() + first[1:]
        elif first.lower() in LOWERED:
            first = first.lower()
        name = f"{first} {rest}".rstrip()
        if self.pronoun.lower() in POSSESSIVES:
            name = name.removesuffix("'s") + "'s"
        elif self.pronoun.lower() in PERSONAL:
            # "Ann's problems": whoever is meant is Ann.
            name = name.removesuffix("'s")
        return f"{self.before} {name}".lstrip()

    def rest(self) -> str:
        """Return the words behind the pronoun, with the space before them where there is one."""
        return self.after if self.after[0] in ".,;:!?'" else f" {self.after}"


def prepare(path: Path, setting: Setting) -> Prepared:
    """Prepare the schemas of a file of either kind.

    Raises:
        InvalidDataError: it is in neither format, or a sentence exceeds the context.
    """
    data = read_bytes(path)
    is_xml = data.lstrip().startswith(b"<")
    schemas = list(read_xml(path, data) if is_xml else read_blocks(path, decode(path, data)))
    used = schemas[:WSC273][: setting.limit]
    pairs = [_ask(path, schema, setting) for schema in used]
    return Prepared(
        [request for requests, _ in pairs for request in requests],
        partial(measure, [schema.answer for schema in used], [rest for _, rest in pairs]),
        {"schemas": len(used), "schemas_in_file": len(schemas)},
        {
            "part": f"the first {WSC273} schemas, which are WSC273",
            "format": "WSCollection.xml" if is_xml else "wsc273.txt",
            "normalisation": "none: the sum of log-probabilities is compared",
            "begins_with": "<|endoftext|>, not scored",
            "context": setting.n_ctx,
        },
    )


def measure(answers: Sequence[int], rests: Sequence[int], scores: Sequence[Scores]) -> list[Metric]:
    """Compare the two candidates of each schema; of equals the first wins.

    Args:
        answers: 0 or 1, the right candidate of each schema.
        rests: tokens behind the pronoun of each schema.
        scores: two for each schema, of all tokens of the sentence.
    """
    both = list(zip(scores[::2], scores[1::2], strict=True))
    full, partly = [], []
    for answer, rest, (a, b) in zip(answers, rests, both, strict=True):
        full.append(int(b.total > a.total) == answer)
        behind = float(b.log_probs[-rest:].sum()) > float(a.log_probs[-rest:].sum())
        partly.append(int(behind) == answer)
    return [
        Metric("accuracy_partial", share(partly), "% of schemas, by the words behind the pronoun"),
        Metric("accuracy_full", share(full), "% of schemas, by the whole sentence"),
    ]


def read_xml(path: Path, data: bytes) -> Iterator[Schema]:
    """Read the schemas of `WSCollection.xml`.

    Raises:
        InvalidDataError: it is no XML, or something is missing in a schema.
    """
    if b"<!ENTITY" in data:
        raise InvalidDataError(path, 1, "XML with entities of its own is not read")
    try:
        root = ET.fromstring(data)  # noqa: S314 - what makes XML dangerous was refused above
    except ET.ParseError as error:
        raise InvalidDataError(path, error.position[0], f"this is no XML ({error})") from error
    lines = [data.count(b"\n", 0, match.start()) + 1 for match in re.finditer(b"<schema", data)]
    schemas = root.findall("schema")
    if not schemas:
        raise InvalidDataError(path, 1, "there is no <schema> in it")
    for line, schema in zip(lines, schemas, strict=False):
        before, pronoun, after = (
            _spaced(schema.findtext(f"text/{name}") or "") for name in ("txt1", "pron", "txt2")
        )
        candidates = [_spaced(answer.text or "") for answer in schema.findall("answers/answer")]
        letter = _spaced(schema.findtext("correctAnswer") or "").rstrip(".")
        if not (pronoun and after and len(candidates) == 2 and all(candidates)):
            problem = "the schema must hold pron, txt2 and two answers"
            raise InvalidDataError(path, line, problem)
        if letter not in tuple(LETTERS):
            raise InvalidDataError(path, line, f"correctAnswer must be A or B, not {letter!r}")
        a, b = candidates
        yield Schema(line, before, pronoun, after, (a, b), LETTERS.index(letter))


def read_blocks(path: Path, text: str) -> Iterator[Schema]:
    """Read the schemas of `wsc273.txt`.

    Raises:
        InvalidDataError: a block is not what it should be.
    """
    for match in re.finditer(r"(?:[^\n]*\S[^\n]*(?:\n|\Z))+", text):
        line = text.count("\n", 0, match.start()) + 1
        block = [_spaced(row) for row in match[0].splitlines()]
        if len(block) != 4 or block[0].count(MASK) != 1 or block[1] != MASK:
            problem = f"expected a sentence with {MASK}, {MASK}, two candidates and the right one"
            raise InvalidDataError(path, line, problem)
        before, _, after = block[0].partition(MASK)
        candidates = [candidate.strip() for candidate in block[2].split(",")]
        if len(candidates) != 2 or block[3] not in candidates or not after.strip():
            problem = "expected words behind the mask and two candidates, one of them the right one"
            raise InvalidDataError(path, line, problem)
        a, b = candidates
        answer = candidates.index(block[3])
        yield Schema(line, before.strip(), "", after.strip(), (a, b), answer)


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _ask(path: Path, schema: Schema, setting: Setting) -> tuple[list[Request], int]:
    """Return a request for each candidate, and how many tokens stand behind the pronoun."""
    encode = setting.tokenizer.encode
    rest = encode(schema.rest())
    requests = []
    for candidate in schema.candidates:
        ids = [setting.tokenizer.eot, *encode(schema.up_to(candidate)), *rest]
        if len(ids) > setting.n_ctx + 1:
            problem = f"the sentence is {len(ids) - 1} tokens long, the context {setting.n_ctx}"
            raise InvalidDataError(path, schema.line, problem)
        requests.append(Request(torch.tensor(ids), first=1))
    return requests, len(rest)
