"""What a person types into the demo, as something to do; pure, knows no terminal and no world."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sandbox.commands import MESSAGE_MENU, SLASH, SUBCOMMAND_GROUP
from sandbox.model import Json
from sandbox.slash import (
    BOOLEAN,
    FILE,
    INTEGER,
    NUMBER,
    STRING,
    PersonError,
    find_command,
    find_options,
)

HELP = """\
  a text               mention the bot with it: GPT-2 goes on from there
  @                    mention it with nothing: GPT-2 writes what it likes
  /NAME text key:value call one of the bot's commands, such as /generate Once length:50
  /verify text         ask whether the bot wrote a text; file:PATH asks about a file
  /above               ask that of the message above: its menu's command, by NAME if it has several
  /stop                press Stop on the reply that runs
  /dm text             write to the bot alone
  /help                show this
  /quit                end (so does Ctrl-C)"""

BUILT_IN = {
    "help": "show what can be typed",
    "stop": "press Stop on the reply that runs",
    "above": "use the menu of the message above",
    "dm": "write to the bot alone",
    "quit": "end",
}


@dataclass(frozen=True, slots=True)
class Nothing:
    """An empty line."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A message that mentions the bot; an empty `text` is a mention alone."""

    text: str


@dataclass(frozen=True, slots=True)
class Direct:
    """A direct message."""

    text: str


@dataclass(frozen=True, slots=True)
class Slash:
    """A slash command; a sub-command's name has spaces in it."""

    name: str
    options: dict[str, object]


@dataclass(frozen=True, slots=True)
class LocalFile:
    """What an option that takes a file was given: a path on this machine."""

    path: str


@dataclass(frozen=True, slots=True)
class Menu:
    """A command from the menu of the message above."""

    name: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Press the button."""


@dataclass(frozen=True, slots=True)
class Help:
    """Show what can be typed."""


@dataclass(frozen=True, slots=True)
class Quit:
    """End the demo."""


Typed = Nothing | Mention | Direct | Slash | Menu | Stop | Help | Quit


_ALONE: dict[str, Typed] = {
    "": Help(),
    "help": Help(),
    "stop": Stop(),
    "quit": Quit(),
    "exit": Quit(),
}


def read(line: str, commands: list[Json]) -> Typed:
    """Read a line.

    Args:
        line: What was typed.
        commands: The bot's registered commands, as Discord's JSON.

    Raises:
        PersonError: for a command that does not exist.
    """
    line = line.strip()
    if not line.startswith("/"):
        text = line.removeprefix("@").strip() if line == "@" else line
        return Mention(text) if line else Nothing()
    name, _, rest = line[1:].partition(" ")
    rest = rest.strip()
    match name:
        case _ if name in _ALONE:
            return _ALONE[name]
        case "above":
            return Menu(_menu_command(rest, commands))
        case "dm":
            return Direct(rest) if rest else Help()
        case _:
            return _slash(name, rest, commands)


def _menu_command(begin: str, commands: list[Json]) -> str:
    """Find the one message command whose name begins so."""
    names = [each["name"] for each in commands if each["type"] == MESSAGE_MENU]
    meant = [name for name in names if name.casefold().startswith(begin.casefold())]
    if len(meant) != 1:
        msg = f"{begin!r} names no single one; there are: {', '.join(sorted(names)) or 'none'}"
        raise PersonError(msg)
    return str(meant[0])


def _slash(name: str, rest: str, commands: list[Json]) -> Slash:
    command = find_command(commands, name)
    path: list[str] = []
    words = rest.split()
    options: list[Json] = command.get("options", [])
    while words and (inside := _sub_command(options, words[0])):
        path.append(words.pop(0))
        options = inside.get("options", [])
        rest = " ".join(words)
    return Slash(" ".join([name, *path]), _options(rest, find_options(command, path)))


def _sub_command(options: list[Json], name: str) -> Json | None:
    for option in options:
        if option["type"] <= SUBCOMMAND_GROUP and option["name"] == name:
            return option
    return None


def _options(text: str, options: Iterable[Json]) -> dict[str, object]:
    """Take `key:value` pairs out of a text; what is left is the first option that takes text."""
    known = {option["name"]: option for option in options}
    given: dict[str, object] = {}
    if known:
        names = "|".join(map(re.escape, known))
        pair = re.compile(rf'(?<!\S)({names}):("[^"]*"|\S+)')
        for name, value in pair.findall(text):
            given[name] = _value(value.strip('"'), known[name]["type"])
        text = pair.sub("", text)
    text = " ".join(text.split())
    first = next((name for name, option in known.items() if option["type"] == STRING), None)
    if text and first is not None and first not in given:
        given = {first: text.removeprefix(f"{first}:").lstrip(), **given}
    return given


def _value(text: str, kind: int) -> object:
    """Read a number or a truth value; what is none stays text, to be refused by name."""
    try:
        match kind:
            case _ if kind == INTEGER:
                return int(text)
            case _ if kind == NUMBER:
                return float(text)
            case _ if kind == FILE:
                return LocalFile(text)
            case _ if kind == BOOLEAN:
                return {"true": True, "false": False}.get(text.lower(), text)
            case _:
                return text
    except ValueError:
        return text


def completions(line: str, commands: list[Json]) -> list[tuple[str, str]]:
    """List what the last word of a line could become, each with a few words about it."""
    if not line.startswith("/"):
        return []
    word = "" if line.endswith(" ") else line.rsplit(maxsplit=1)[-1]
    slashes = [command for command in commands if command["type"] == SLASH]
    if " " not in line:
        found = {f"/{each['name']}": each["description"] for each in slashes}
        found |= {f"/{name}": about for name, about in BUILT_IN.items()}
    else:
        name = line[1:].split(maxsplit=1)[0]
        command = next((each for each in slashes if each["name"] == name), None)
        options: list[Json] = command.get("options", []) if command else []
        found = {
            option["name"] + ("" if option["type"] <= SUBCOMMAND_GROUP else ":"): _about(option)
            for option in options
            if f" {option['name']}:" not in line
        }
    return [(text, about) for text, about in sorted(found.items()) if text.startswith(word)]


def _about(option: Json) -> str:
    bounds = [option.get(key) for key in ("min_value", "max_value")]
    said: str = option["description"]
    return said if None in bounds else f"{said} ({bounds[0]:g} to {bounds[1]:g})"
