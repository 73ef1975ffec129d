"""Owns where samples go and what stands around them: the label above all, in every form and file.

Knows samples as they are written, and no model.
"""

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, Self, TextIO

from engine.commands.sampling import Written
from engine.label import visible
from wire.details import Details


class Form(Protocol):
    """What a sample looks like."""

    suffix: str

    def head(self, sample: Written) -> str:
        """Return what comes before the model's text."""

    def piece(self, text: str) -> str:
        """Return some of the model's text."""

    def tail(self, sample: Written) -> str:
        """Return what ends a whole sample."""


class PlainText:
    """The label, the prompt if it is shown, and the text behind it."""

    suffix = ".txt"

    def __init__(self, label: str, *, with_prompt: bool) -> None:
        self._label = label
        self._with_prompt = with_prompt

    def head(self, sample: Written) -> str:
        """Return the label, and the prompt below it."""
        prompt = sample.prompt if self._with_prompt else ""
        return f"{self._label} · seed {sample.params.seed}\n{prompt}"

    def piece(self, text: str) -> str:
        """Return the text."""
        return text

    def tail(self, sample: Written) -> str:  # noqa: ARG002
        """Return a line break."""
        return "\n"


class JsonLines:
    """One JSON object a sample and line, when it is whole."""

    suffix = ".json"

    def __init__(self, label: str, details: Callable[[Written], Details]) -> None:
        self._label = label
        self._details = details

    def head(self, sample: Written) -> str:  # noqa: ARG002
        """Return nothing: the label is the object's first field."""
        return ""

    def piece(self, text: str) -> str:  # noqa: ARG002
        """Return nothing until the sample is whole."""
        return ""

    def tail(self, sample: Written) -> str:
        """Return the object. It is ASCII, so that no terminal or reader of lines can spoil it."""
        details = self._details(sample)
        seed, usage = details.seed, details.usage
        fields = {
            "machine_generated": True,
            "label": f"{self._label} · seed {seed}",
            "model": details.model,
            "seed": seed,
            "params": sample.params.model_dump(exclude={"seed", "watermark"}),
            "prompt": sample.prompt,
            "text": sample.text,
            "finish_reason": sample.finish_reason,
            "tokens": {
                "prompt": usage.prompt_tokens,
                "completion": usage.completion_tokens,
            },
            "times": {
                "first_token_ms": usage.first_token_ms,
                "total_ms": usage.total_ms,
            },
            "details": details.model_dump(mode="json"),
        }
        return json.dumps(fields) + "\n"


class Output:
    """Standard output, a file, or a folder with a file for each sample. A context manager.

    Args:
        path: None: standard output; a folder if it is one already or ends in `/`.
        form: what a sample looks like.

    Raises:
        OSError: it cannot be written to.
    """

    def __init__(self, path: str | None, form: Form) -> None:
        self._form = form
        self._files = ExitStack()
        self._folder: Path | None = None
        self._current = 0
        self._stream: TextIO = sys.stdout
        if path is not None and (path.endswith("/") or Path(path).is_dir()):
            self._folder = Path(path)
            self._folder.mkdir(parents=True, exist_ok=True)
        elif path is not None:
            self._stream = self._open(Path(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._files.close()

    def add(self, sample: Written, text: str) -> None:
        """Write some of a sample's text, below its label."""
        if sample.number != self._current:
            self._begin(sample)
        self._write(self._form.piece(text))
        if sample.finish_reason is not None:
            self._write(self._form.tail(sample))

    def _begin(self, sample: Written) -> None:
        head = self._form.head(sample)
        if self._folder is not None:
            self._files.close()
            name = f"sample-{sample.number:04}-seed-{sample.params.seed}{self._form.suffix}"
            self._stream = self._open(self._folder / name)
        elif self._current and head:
            self._write("\n")
        self._current = sample.number
        self._write(head)

    def _open(self, path: Path) -> TextIO:
        # As it is: a sample's line breaks are the model's own.
        return self._files.enter_context(path.open("w", encoding="utf-8", newline=""))

    def _write(self, text: str) -> None:
        if text:
            self._stream.write(visible(text) if self._stream.isatty() else text)
            self._stream.flush()
