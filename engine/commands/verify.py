"""Owns the `verify` command: texts in, for each what can be said of who wrote it."""

import json
import sys
from pathlib import Path

from pydantic import Field
from pydantic_settings import CliPositionalArg

from codec.bpe import Tokenizer
from codec.vocabulary import find_vocabulary
from engine.commands.marking import MarkingCommand
from engine.errors import InvalidRequestError
from engine.label import visible
from engine.loading import model_folders
from engine.verify import verify

STANDARD_INPUT = Path("-")


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
            VocabularyError: a model's vocabulary is damaged.
        """
        keys, tokenizers = self.keys(), _tokenizers(self.models)
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


def _tokenizers(models: Path) -> list[Tokenizer]:
    """Return the tokenizers of all models, each vocabulary once: any of them may have written."""
    found: dict[tuple[bytes, bytes], Path] = {}
    for folder in model_folders(models).values():
        encoder, merges = find_vocabulary(folder)
        found.setdefault((encoder.read_bytes(), merges.read_bytes()), folder)
    if not found:
        msg = f"{models} holds no model, and without its vocabulary a text cannot be verified."
        raise InvalidRequestError(msg)
    return [Tokenizer.from_folder(folder) for folder in found.values()]


def _read(path: Path) -> str:
    try:
        data = sys.stdin.buffer.read() if path == STANDARD_INPUT else path.read_bytes()
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{path} is no UTF-8 text: byte {error.start} belongs to no character."
        raise InvalidRequestError(msg) from error
