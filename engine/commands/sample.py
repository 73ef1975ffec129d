"""Owns the `sample` command: what is asked in, samples out, each under its label."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn, Self

from pydantic import Field, model_validator
from tqdm import tqdm

from engine.commands.output import Form, JsonLines, Output, PlainText
from engine.commands.prompts import fit
from engine.commands.remake import Recipe
from engine.commands.sampling import Decoding, SamplingCommand, Writer
from engine.commands.tasks import TASKS, Pair, Task, TaskName, read_examples
from engine.errors import InvalidRequestError

STANDARD_INPUT = Path("-")


class Sample(SamplingCommand):
    """Write samples, with or without a prompt."""

    prompt: str | None = None
    """What to continue; left out: an unconditional sample."""
    prompt_file: Path | None = None
    """File that holds the prompt, - is standard input; a line break at its end does not count."""
    unconditional: bool = False
    """Begin from nothing, even where a prompt is given."""
    nsamples: Annotated[int, Field(ge=0)] = 1
    """How many samples; their seeds count up from the first. 0: without end."""
    task: TaskName | None = None
    """Ask about the prompt as the GPT-2 paper did, with its settings where no others are given."""
    examples: Path | None = None
    """File of pairs that show translate-… and qa what is wanted: one a line, a tab in between."""
    as_json: bool = False
    """One JSON object a sample and line, with seed, settings, tokens and times."""
    output: str | None = None
    """File to write to; or a folder, which is there or ends in /: a file for each sample."""
    quiet: bool = False
    """Say nothing besides the samples: no notes, no progress."""
    details: Path | None = None
    """Write a text again: file with its details, - is standard input. They set the options, and the
    model if none is given; the prompt may be in them."""
    force: bool = False
    """With details: write even with another model's weights, which makes another text."""

    @model_validator(mode="after")
    def _is_asked_clearly(self) -> Self:
        if self.prompt is not None and self.prompt_file is not None:
            msg = "prompt and prompt-file cannot both be given"
            raise ValueError(msg)
        if self.details is not None and self.task is not None:
            msg = "details and task cannot both be given"
            raise ValueError(msg)
        if self.details == self.prompt_file == STANDARD_INPUT:
            msg = "details and prompt-file cannot both be standard input"
            raise ValueError(msg)
        if self.task is not None and (
            self.unconditional or (self.prompt is None and self.prompt_file is None)
        ):
            msg = f"task {self.task} needs an input: give prompt or prompt-file"
            raise ValueError(msg)
        if self.examples is not None and (self.task is None or not TASKS[self.task].examples):
            msg = "examples are for the tasks translate-en-fr, translate-fr-en and qa"
            raise ValueError(msg)
        return self

    def run(self) -> None:
        """Write samples, each under a line that says what wrote it.

        Raises:
            EngineError: the model cannot be run, or the prompt is too long.
            VocabularyError: the model's vocabulary is damaged.
            ValueError, OSError: an input cannot be read, or an output not written.
        """
        if self.details is not None:
            self._write_again(Recipe.parse(_read(self.details), _name(self.details)))
        else:
            self._write(self._read_prompt(), Writer.load(self), self)

    def _write_again(self, recipe: Recipe) -> None:
        text = self._prompt_of(recipe)
        settings = recipe.settings()
        given = self.model_fields_set
        for name in settings.keys() & given:
            if settings[name] != getattr(self, name) and not self.quiet:
                print(f"sample: {name} is taken from the details.", file=sys.stderr)
        if "model" not in given:
            settings["model"] = recipe.model
        if not recipe.is_marked:
            settings["watermark"] = False
        elif self.watermark:
            settings |= recipe.own_key(self.keys())
        again = self.model_copy(update=settings)
        writer = Writer.load(again)
        here = writer.provenance(recipe.details.params)
        if not self.force:
            recipe.check_weights(here, writer.model_name)
        for difference in recipe.differences(here):
            print(f"sample: the text may come out differently: {difference}.", file=sys.stderr)
        self._write(text, writer, again)

    def _write(self, text: str, writer: Writer, decoding: Decoding) -> None:
        task = TASKS[self.task] if self.task else None
        asked = task.build(text.strip(), self._pairs(task)) if task else None
        if task is not None and asked is not None:
            given = self.model_fields_set
            settings = {name: task.decoding[name] for name in task.decoding if name not in given}
            decoding = self.model_copy(update=settings)
            text, note = fit(asked, writer.num_tokens, writer.room(decoding.length))
            if note and not self.quiet:
                print(f"sample: {note}.", file=sys.stderr)
        form: Form = PlainText(writer.label, with_prompt=task is None)
        if self.as_json:
            form = JsonLines(writer.label, writer.details)
        keep = task.keep if task else None
        with Output(self.output, form) as output, self._progress() as progress:
            for sample, new in writer.write(text, decoding, nsamples=self.nsamples, keep=keep):
                output.add(sample, new)
                progress.update(sample.finish_reason is not None)

    def _read_prompt(self) -> str:
        if self.unconditional:
            return ""
        if self.prompt_file is None:
            return self.prompt or ""
        # An editor ends a file with a line break that nobody means.
        return _read(self.prompt_file).removesuffix("\n").removesuffix("\r")

    def _prompt_of(self, recipe: Recipe) -> str:
        if self.prompt is None and self.prompt_file is None and not self.unconditional:
            if recipe.prompt is None:
                msg = "the details come without a prompt: give it, or say --unconditional"
                raise InvalidRequestError(msg)
            return recipe.prompt
        return self._read_prompt()

    def _pairs(self, task: Task) -> tuple[Pair, ...]:
        return task.examples if self.examples is None else read_examples(_read(self.examples))

    def _progress(self) -> "tqdm[NoReturn]":
        is_seen = self.output is None and sys.stdout.isatty()
        # None: shown if there is a terminal to show it on.
        disable = True if self.quiet or is_seen else None
        return tqdm(total=self.nsamples or None, unit=" samples", disable=disable)


def _read(path: Path) -> str:
    data = sys.stdin.buffer.read() if path == STANDARD_INPUT else path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{path} is not UTF-8 text: byte {error.start} cannot be read"
        raise ValueError(msg) from error


def _name(path: Path) -> str:
    return "standard input" if path == STANDARD_INPUT else str(path)
