"""Owns how arguments become a command: their spelling, the help, the sentence for a wrong one."""

import difflib
import json
from argparse import Action, ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import CliApp, CliSettingsSource, SettingsError

from engine.settings import NOTHING, OFF_THE_COMMAND_LINE, Command
from wire.jobs import explain

C = TypeVar("C", bound=Command)

METAVARS = {"integer": "N", "number": "X", "string": "TEXT"}
LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}
EPILOG = """An option may also stand in the environment or in .env: --top-k is OVID_TOP_K.
Underscores do as well as hyphens: --top_k is --top-k."""


class UsageError(ValueError):
    """A command was asked wrongly; the text is one sentence that may be shown to a person."""


def read_command(kind: type[C], name: str, args: Sequence[str]) -> C:
    """Make a command of arguments, environment and `.env`.

    Args:
        kind: the command.
        name: what it is called.
        args: what stands behind its name on the command line.

    Raises:
        UsageError: an option is unknown, missing or out of bounds.
        SystemExit: help was asked for and printed.
    """
    options = _Options(kind)
    try:
        source: CliSettingsSource[Any] = CliSettingsSource(
            kind, cli_prog_name=f"python -m engine {name}", add_argument_method=options.add
        )
        source.root_parser.epilog = EPILOG
        return CliApp.run(kind, cli_args=list(_spelled(args)), cli_settings_source=source)
    except ValidationError as error:
        raise UsageError(explain(error)) from error
    except SettingsError as error:
        raise UsageError(options.explain(str(error))) from error


def nearest(word: str, known: Sequence[str]) -> str:
    """Return a question for whoever misspelt a word, or nothing if no known one is near.

    >>> nearest("smaple", ["serve", "sample"])
    '; did you mean sample?'
    """
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


class _Options:
    """The options of one command, on their way into argparse."""

    def __init__(self, kind: type[Command]) -> None:
        self._fields: dict[str, Any] = kind.model_json_schema(by_alias=False)["properties"]
        self._known: list[str] = []

    def add(self, parser: ArgumentParser, *names: str, **details: Any) -> Action:
        """Add an option, described by its bounds and not by its Python type."""
        if "--json" in names:
            # A field can't be called json, since pydantic's own method is; an option can.
            names = ("--json",)
        self._known += names
        whole = self._fields.get(details.get("dest", names[0]), {})
        field = _without_none(whole)
        if OFF_THE_COMMAND_LINE.items() <= whole.items():
            details["action"] = _Refused
        if details.get("action") == "append":
            field = field.get("items", {})
            if field.get("type") == "string":
                details["action"] = _Texts
        details["help"] = _sentence(details["help"], _bounds(field))
        if "dest" in details and "metavar" in details and field.get("type") in METAVARS:
            path = field.get("format") == "path"
            details["metavar"] = "PATH" if path else METAVARS[field["type"]]
        if "enum" in field:
            details["metavar"] = "{" + ",".join(field["enum"]) + "}"
        return parser.add_argument(*names, **details)

    def explain(self, message: str) -> str:
        """Say in one sentence what the parser could not take."""
        said = message.removeprefix("error parsing CLI: ")
        unknown = said.removeprefix("unrecognized arguments: ")
        if unknown == said:
            return f"{said}."
        word = unknown.split(" ")[0].partition("=")[0]
        if not word.startswith("-"):
            return f"{word!r} belongs to no option; a text of several words needs quotes."
        return f"there is no option {word}{nearest(word, self._known) or '.'}"


class _Texts(Action):
    """Gather texts exactly; the library would strip them and part them at commas."""

    def __call__(self, _: ArgumentParser, namespace: Namespace, values: Any, *__: Any) -> None:
        before = json.loads(getattr(namespace, self.dest, "[]"))
        setattr(namespace, self.dest, json.dumps([*before, values]))


class _Refused(Action):
    """Refuse a secret, and tell its place, without showing it again."""

    def __call__(self, parser: ArgumentParser, *_: Any) -> None:
        option = self.option_strings[0]
        variable = "OVID_" + option.removeprefix("--").replace("-", "_").upper()
        parser.error(
            f"{option} is not taken here, where every user of this machine could read the secret: "
            f"put it into {variable}"
        )


def _without_none(field: dict[str, Any]) -> dict[str, Any]:
    choices = [choice for choice in field.get("anyOf", ()) if choice.get("type") != "null"]
    return choices[0] if choices else field


def _sentence(words: str, bounds: Iterator[str]) -> str:
    """Put bounds behind a default, and leave out a default that says nothing."""
    text, _, default = words.removesuffix(")").rpartition(" (default: ")
    if not text:
        text, default = words, NOTHING
    facts = [] if default in (NOTHING, "()", "False") else [f"default: {default}"]
    facts += bounds
    return f"{text} ({', '.join(facts)})" if facts else text


def _bounds(field: dict[str, Any]) -> Iterator[str]:
    """Yield what is known of a value's range, from its JSON schema."""
    if "minimum" in field and "maximum" in field:
        yield f"{_plain(field['minimum'])} to {_plain(field['maximum'])}"
        return
    for key, words in LIMITS.items():
        if key in field:
            yield words.format(_plain(field[key]))


def _plain(number: float) -> str:
    return str(number).removesuffix(".0")


def _spelled(args: Sequence[str]) -> Iterator[str]:
    """Yield the arguments with hyphens in the options' names: the originals had underscores."""
    options = True
    for arg in args:
        options = options and arg != "--"
        name, equals, value = arg.partition("=")
        is_option = options and name.startswith("--")
        yield f"{name.replace('_', '-')}{equals}{value}" if is_option else arg
