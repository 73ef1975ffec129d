"""A person's side of commands: what Discord's client lets them send; pure functions.

What a person gets wrong is a `PersonError`, in a sentence for them.
"""

from collections.abc import Mapping

from sandbox.commands import MESSAGE_MENU, SLASH, SUBCOMMAND, SUBCOMMAND_GROUP
from sandbox.model import Attachment, Json

STRING, INTEGER, BOOLEAN, NUMBER, FILE = 3, 4, 5, 10, 11
INT53 = 2**53
STRING_CHARS = 6000


class PersonError(ValueError):
    """Something that Discord's client would not let a person do, said in a sentence."""


def available(commands: Mapping[int | None, list[Json]], *, in_guild: bool) -> list[Json]:
    """List the commands that a person sees in the guild or in direct messages."""
    context = 0 if in_guild else 1
    return [
        command
        for scope, registered in commands.items()
        if scope is None or in_guild
        for command in registered
        if context in (command.get("contexts") or _old_contexts(command))
    ]


def _old_contexts(command: Json) -> list[int]:
    return [0, 1] if command.get("dm_permission", True) else [0]


def find_command(commands: list[Json], name: str, kind: int = SLASH) -> Json:
    """Find a command by its type and name.

    Raises:
        PersonError: naming what exists instead.
    """
    for command in commands:
        if command["type"] == kind and command["name"] == name:
            return command
    known = ", ".join(sorted(each["name"] for each in commands if each["type"] == kind))
    what = "message command" if kind == MESSAGE_MENU else "command"
    msg = f"there is no {what} {name!r} here; there are: {known or 'none'}"
    raise PersonError(msg)


def find_options(command: Json, path: list[str]) -> list[Json]:
    """List the options of a command, or of its sub-command under `path`.

    Raises:
        PersonError: when the path is wrong or stops at a group.
    """
    options: list[Json] = command.get("options", [])
    for name in path:
        inside = {each["name"]: each for each in options if each["type"] <= SUBCOMMAND_GROUP}
        if name not in inside:
            msg = f"/{command['name']} has no sub-command {name!r}; it has: {', '.join(inside)}"
            raise PersonError(msg)
        options = inside[name].get("options", [])
    if any(each["type"] <= SUBCOMMAND_GROUP for each in options):
        names = ", ".join(each["name"] for each in options)
        msg = f"/{command['name']} needs one of its sub-commands: {names}"
        raise PersonError(msg)
    return options


def fill(command: Json, path: list[str], given: Mapping[str, object]) -> Json:
    """Make an interaction's `data` from a command and what a person put into its options.

    Raises:
        PersonError: naming the option, the bound and the value.
    """
    options = find_options(command, path)
    known = {option["name"]: option for option in options}
    for name in given:
        if name not in known:
            names = ", ".join(known) or "none"
            msg = f"/{command['name']} has no option {name!r}; it has: {names}"
            raise PersonError(msg)
    for option in options:
        if option.get("required") and option["name"] not in given:
            msg = f"/{command['name']} needs the option {option['name']!r}"
            raise PersonError(msg)
    # An option that takes a file holds its id; the file itself is looked up with it.
    filled: list[Json] = [
        {"name": name, "type": known[name]["type"], "value": check_value(known[name], value)}
        for name, value in given.items()
    ]
    for depth, name in reversed(list(enumerate(path))):
        is_last = depth == len(path) - 1
        kind = SUBCOMMAND if is_last else SUBCOMMAND_GROUP
        filled = [{"name": name, "type": kind, "options": filled}]
    data = {"id": command["id"], "name": command["name"], "type": SLASH, "options": filled}
    return data | ({"guild_id": command["guild_id"]} if "guild_id" in command else {})


def check_value(option: Json, value: object) -> object:
    """Return the value if the option takes it, as it is sent: of a file its id.

    >>> check_value({"name": "length", "type": 4, "min_value": 1, "max_value": 9}, 10)
    Traceback (most recent call last):
    ...
    sandbox.slash.PersonError: length must be at most 9, not 10

    Raises:
        PersonError: naming the option, the bound and the value.
    """
    name, kind = option["name"], option["type"]
    match kind, value:
        case (3, str()):
            _check_bounds(
                f"{name} must have", len(value), option, "_length", " characters", STRING_CHARS
            )
        case (5, bool()):
            pass
        case (11, Attachment()):
            return str(value.id)
        case (4, int()) | (10, int() | float()) if not isinstance(value, bool):
            _check_bounds(f"{name} must be", value, option, "_value", "", INT53)
        case _:
            wanted = {STRING: "a text", INTEGER: "a whole number", BOOLEAN: "true or false"}
            wanted |= {NUMBER: "a number", FILE: "a file"}
            if kind not in wanted:
                msg = f"{name} is an option of Discord's type {kind}, which is not offered here"
                raise PersonError(msg)
            msg = f"{name} must be {wanted[kind]}, not {value!r}"
            raise PersonError(msg)
    choices = [choice["value"] for choice in option.get("choices", [])]
    if choices and not option.get("autocomplete") and value not in choices:
        msg = f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}"
        raise PersonError(msg)
    return value


def _check_bounds(
    said: str, amount: float, option: Json, suffix: str, unit: str, largest: int
) -> None:
    least = option.get(f"min{suffix}", 0 if unit else -largest)
    most = option.get(f"max{suffix}", largest)
    if amount < least:
        msg = f"{said} at least {least}{unit}, not {amount}"
        raise PersonError(msg)
    if amount > most:
        msg = f"{said} at most {most}{unit}, not {amount}"
        raise PersonError(msg)
