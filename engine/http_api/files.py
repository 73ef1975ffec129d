"""Owns uploaded training files: a folder each, its content checked, its name never a path."""

import json
import re
import secrets
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from engine.http_api.errors import ApiError
from engine.http_api.records import write_record

SUFFIXES = (".jsonl", ".txt", ".md")
"""What can be trained on; a file keeps its suffix, which tells `finetune` how to read it."""
PURPOSE = "fine-tune"
ID = re.compile(r"file-[0-9a-f]{24}")
MAX_NAME_CHARS = 200
UPLOADING = "uploading-"
RECORD = "record.json"


class FileRecord(BaseModel):
    """One uploaded file."""

    model_config = ConfigDict(frozen=True)

    id: str
    bytes: int
    created_at: float
    """In seconds of Unix time; the fractions keep the order of what came within one."""
    filename: str
    purpose: str = PURPOSE

    def json_object(self) -> dict[str, Any]:
        """Return it as OpenAI's clients read it."""
        shown = {"created_at": int(self.created_at), "object": "file", "status": "processed"}
        return {**self.model_dump(), **shown}


class FileStore:
    """Keep files below a folder. Every method works on the disk, so none is for an event loop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> None:
        """Make the folder, and clear away uploads that never ended."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob(f"{UPLOADING}*"):
            shutil.rmtree(left, ignore_errors=True)

    def begin(self, filename: str) -> Path:
        """Return the path that an upload is to be written to; `keep` or `discard` must follow.

        Raises:
            ApiError: the name's suffix is none that can be trained on.
        """
        suffix = Path(clean_name(filename)).suffix.lower()
        if suffix not in SUFFIXES:
            msg = f"file must be one of {', '.join(SUFFIXES)}, not {clean_name(filename)!r}."
            raise ApiError(400, msg, param="file")
        folder = self._folder / f"{UPLOADING}{secrets.token_hex(12)}"
        folder.mkdir()
        return folder / f"content{suffix}"

    def keep(self, content: Path, filename: str) -> FileRecord:
        """Check what was uploaded, and give it an id.

        Raises:
            ApiError: it holds nothing that can be trained on.
        """
        check_content(content)
        record = FileRecord(
            id=f"file-{secrets.token_hex(12)}",
            bytes=content.stat().st_size,
            created_at=time.time(),
            filename=clean_name(filename),
        )
        write_record(content.parent / RECORD, record)
        content.parent.rename(self._folder / record.id)
        return record

    def discard(self, content: Path) -> None:
        """Forget an upload that did not end well; harmless when it did."""
        shutil.rmtree(content.parent, ignore_errors=True)

    def newest_first(self) -> list[FileRecord]:
        """Return all files, the newest first."""
        found = []
        for path in self._folder.glob(f"file-*/{RECORD}"):
            try:
                found.append(FileRecord.model_validate_json(path.read_bytes()))
            except (OSError, ValidationError):
                continue
        return sorted(found, key=lambda record: record.created_at, reverse=True)

    def get(self, file_id: str) -> tuple[FileRecord, Path]:
        """Return a file's record and where its content is.

        Raises:
            ApiError: there is no such file.
        """
        folder = self._folder / file_id
        try:
            if not ID.fullmatch(file_id):
                raise FileNotFoundError
            record = FileRecord.model_validate_json((folder / RECORD).read_bytes())
            return record, next(folder.glob("content.*"))
        except (OSError, ValidationError, StopIteration):
            msg = f"There is no file {file_id[:80]!r}."
            raise ApiError(404, msg, code="file_not_found", param="file_id") from None

    def delete(self, file_id: str) -> None:
        """Delete a file.

        Raises:
            ApiError: there is no such file.
        """
        _, content = self.get(file_id)
        shutil.rmtree(content.parent)


def clean_name(filename: str) -> str:
    r"""Return a file's name without folders and control characters; it is only ever shown.

    >>> clean_name("../../etc/notes.txt"), clean_name("C:\\a\x00b.jsonl")
    ('notes.txt', 'ab.jsonl')
    """
    last = re.split(r"[\\/]", filename)[-1]
    return "".join(char for char in last if char.isprintable())[-MAX_NAME_CHARS:] or "unnamed"


def check_content(content: Path) -> None:
    """Read a file line by line and see that it can be trained on.

    Raises:
        ApiError: it is no UTF-8, holds no text, or a line is none of the two JSON shapes.
    """
    try:
        with content.open(encoding="utf-8-sig", newline="\n") as lines:
            if content.suffix == ".jsonl":
                num_lines = _check_lines(lines)
            else:
                num_lines = sum(1 for line in lines if line.strip())
    except UnicodeDecodeError:
        msg = "The file is not UTF-8 text."
        raise ApiError(400, msg, code="invalid_file", param="file") from None
    if not num_lines:
        msg = "The file holds no text."
        raise ApiError(400, msg, code="invalid_file", param="file")


def _check_lines(lines: Iterable[str]) -> int:
    num_lines = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        num_lines += 1
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            fields = None
        if not _is_example(fields):
            msg = (
                f'Line {number} of the file must be {{"text": …}} or '
                f'{{"prompt": …, "completion": …}} with strings in it.'
            )
            raise ApiError(400, msg, code="invalid_file", param="file")
    return num_lines


def _is_example(fields: Any) -> bool:
    if not isinstance(fields, dict):
        return False
    names = ("text",) if "text" in fields else ("prompt", "completion")
    return all(isinstance(fields.get(name), str) for name in names)
