"""Owns the `verify` command: texts in, for each what can be said of who wrote it."""

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from pydantic import Field
from pydantic_settings import CliPositionalArg

from engine.commands.marking import MarkingCommand
from engine.errors import InvalidRequestError, NoKeyError
from engine.label import visible
from engine.loading import find_model, model_folders
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
                f"There is no watermark key in {self.key_file}, nor in OVID_WATERMARK_KEY: without "
                f"the key that marked a text nobody can tell where it comes from. Another place "
                f"of it is named in OVID_WATERMARK_KEY_FILE."
            )
            raise NoKeyError(msg)
        tokenizers = Vocabularies().of(self._folders())
        for path in self.files:
            found = verify(_read(path), tokenizers, keys)
            if self.as_json:
                print(
                    json.dumps(
                        {
                            "file": str(path),
                            **found.model_dump(exclude={"kind"}),
                            "sentence": found.sentence(),
                        },
                        ensure_ascii=False,
                    )
                )
            else:
                print(f"{visible(str(path))}: {found.sentence()}")

    def _folders(self) -> Iterator[Path]:
        yield from model_folders(self.models).values()
        # The default need not be there, since any other may have written the texts.
        if "model" in self.model_fields_set:
            yield find_model(self.model, self.models)


def _read(path: Path) -> str:
    try:
        with _open(path) as file:
            # It may have no end.
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            msg = f"{path} is longer than the {MAX_FILE_BYTES} bytes that are taken: cut it."
            raise InvalidRequestError(msg)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{path} is no UTF-8 text: byte {error.start} belongs to no character."
        raise InvalidRequestError(msg) from error


def _open(path: Path) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if path == STANDARD_INPUT else path.open("rb")
