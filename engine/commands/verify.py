"""Owns the `verify` command: texts in, for each what can be said of who wrote it."""

import json
import sys
from pathlib import Path

from pydantic import Field
from pydantic_settings import CliPositionalArg

from engine.commands.marking import KEY_FILE_NAME, MarkingCommand
from engine.errors import InvalidRequestError, NoKeyError
from engine.label import visible
from engine.loading import model_folders
from engine.verifier import Vocabularies
from engine.verify import verify

STANDARD_INPUT = Path("-")
MAX_FILE_BYTES = 2 * 2**20
"""More takes memory by the gigabyte."""


class Verify(MarkingCommand):
    """Tell whether texts carry this installation's watermark.

    For instance: `verify reply.txt`, or `verify -` for what is pasted.
    """

    files: CliPositionalArg[list[Path]] = Field(min_length=1)
    """The texts, as they were copied, label and all; - for standard input."""
    as_json: bool = False
    """One JSON object for each text."""

    def run(self) -> None:
        """Look for the mark, and say what was found.

        Raises:
            EngineError: there is no key, no model, or a file is no text.
        """
        keys = self.known_keys()
        if not keys:
            msg = (
                f"There is no watermark key in {self.models / KEY_FILE_NAME}, nor in "
                f"OVID_WATERMARK_KEY or OVID_WATERMARK_KEY_FILE: without the key that marked a "
                f"text nobody can tell where it comes from."
            )
            raise NoKeyError(msg)
        tokenizers = Vocabularies().of(model_folders(self.models).values())
        for path in self.files:
            found = verify(_read(path), tokenizers, keys)
            if self.as_json:
                print(
                    json.dumps(
                        {"file": str(path), **found.model_dump(exclude={"kind"})},
                        ensure_ascii=False,
                    )
                )
            else:
                print(f"{visible(str(path))}: {found.sentence()}")


def _read(path: Path) -> str:
    try:
        data = sys.stdin.buffer.read() if path == STANDARD_INPUT else path.read_bytes()
        if len(data) > MAX_FILE_BYTES:
            msg = f"{path} is {len(data)} bytes long, at most {MAX_FILE_BYTES} are taken: cut it."
            raise InvalidRequestError(msg)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{path} is no UTF-8 text: byte {error.start} belongs to no character."
        raise InvalidRequestError(msg) from error
