"""Owns how files become documents: plain text, JSON lines, chat exports. Knows no tokens.

What a file is follows from what it holds; its suffix only says whether it is looked at in a folder,
and that plain text is plain text.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codec.vocabulary import END_OF_TEXT
from engine.errors import InvalidRequestError
from engine.train.chat_export import is_chat_export, transcripts

PLAIN_SUFFIXES = (".txt", ".md")
SUFFIXES = (*PLAIN_SUFFIXES, ".jsonl", ".json")


@dataclass(frozen=True, slots=True)
class Document:
    """One text to learn, and the prompt before it, of which nothing is learnt."""

    text: str
    prompt: str = ""


@dataclass(slots=True)
class Reading:
    """What was read.

    Attributes:
        documents: none is blank.
        num_exports: how many chat exports were among the files.
        people: names of those who wrote in the exports.
        left_out: JSON files that hold no text to train on.
    """

    documents: list[Document] = field(default_factory=list)
    num_exports: int = 0
    people: set[str] = field(default_factory=set)
    left_out: list[Path] = field(default_factory=list)


class _BadLineError(ValueError):
    """A line that cannot be used, and why."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"line {number}: {reason}")


def read_documents(path: Path) -> Reading:
    """Read a file, or every file of a folder that holds text.

    Plain text is split into documents at `<|endoftext|>`; every line of JSON lines is one, either
    `{"text": …}` or `{"prompt": …, "completion": …}`; so is every conversation of a chat export.

    Raises:
        InvalidRequestError: something cannot be read, or nothing is there to read; it names the
            file and the line.
    """
    reading = Reading()
    files = _files_of(path) if path.is_dir() else [path]
    for file in files:
        try:
            _read_file(file, reading)
        except (OSError, ValueError, RecursionError) as error:
            msg = f"cannot read training text from {file}: {error}"
            raise InvalidRequestError(msg) from error
    if reading.left_out == [path]:
        msg = f"cannot read training text from {path}: it is neither a chat export nor JSON lines"
        raise InvalidRequestError(msg)
    if not reading.documents:
        kinds = ", ".join(SUFFIXES)
        msg = f"{path} holds no text to train on (in a folder, {kinds} files are read)"
        raise InvalidRequestError(msg)
    return reading


def _files_of(folder: Path) -> list[Path]:
    found = (file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    return sorted(
        file
        for file in found
        if file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def _read_file(file: Path, reading: Reading) -> None:
    text = _decode(file.read_bytes())
    suffix = file.suffix.lower()
    fields = _whole_json(text, is_certain=suffix == ".json")
    if is_chat_export(fields):
        said = transcripts(fields)
        reading.num_exports += 1
        reading.people |= said.people
        reading.documents += [Document(_whole_characters(text)) for text in said.texts]
    elif suffix == ".jsonl" or (suffix not in PLAIN_SUFFIXES and _begins_as_lines(text)):
        reading.documents += _lines_of_json(text)
    elif suffix == ".json":
        reading.left_out.append(file)
    else:
        pieces = (piece.strip("\n") for piece in text.split(END_OF_TEXT))
        reading.documents += [Document(piece) for piece in pieces if piece.strip()]


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _BadLineError(data.count(b"\n", 0, error.start) + 1, "no UTF-8 text") from error


def _whole_json(text: str, *, is_certain: bool) -> Any:
    """Return a file's one JSON value; None where it is something else.

    Raises:
        ValueError: it is damaged, and was certain to be JSON.
    """
    if text.lstrip()[:1] != "{":
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if is_certain and not _begins_as_lines(text):
            raise _BadLineError(getattr(error, "lineno", 1), _damage(error)) from error
        return None


def _damage(error: Exception) -> str:
    # Python's own words name a line too, which for JSON lines is always the first.
    if isinstance(error, json.JSONDecodeError):
        return f"damaged JSON: {error.msg} at column {error.colno}"
    return "JSON nested too deeply" if isinstance(error, RecursionError) else str(error)


def _begins_as_lines(text: str) -> bool:
    first, _, _ = text.lstrip().partition("\n")
    try:
        return _document_of(first) is not None
    except (ValueError, RecursionError):
        return False


def _lines_of_json(text: str) -> list[Document]:
    documents = []
    # Not splitlines: JSON lets other line ends, such as U+2028, stand inside a string.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            document = _document_of(line)
            (document.prompt + document.text).encode()
        except UnicodeEncodeError as error:
            raise _BadLineError(number, "half of a surrogate pair, which is no text") from error
        except (ValueError, RecursionError) as error:
            raise _BadLineError(number, _damage(error)) from error
        if document.text.strip():
            documents.append(document)
    return documents


def _document_of(line: str) -> Document:
    match json.loads(line):
        case {"prompt": str(prompt), "completion": str(completion)}:
            if not completion.strip():
                msg = "the completion is empty"
                raise ValueError(msg)
            # As written: a prompt is given to the model so, and its answer is wanted so.
            return Document(completion, prompt)
        case {"text": str(text)}:
            return Document(text.strip("\n"))
        case _:
            msg = 'it must be {"text": "…"} or {"prompt": "…", "completion": "…"}'
            raise ValueError(msg)


def _whole_characters(text: str) -> str:
    # An export is not a thing to mend by hand, so half of an emoji may be lost in it.
    return text.encode("utf-8", "replace").decode()
