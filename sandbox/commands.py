"""Application commands as Discord registers them; pure functions over Discord's JSON.

How a person fills a command in is in `slash.py`. Source: discord.com/developers/docs,
"Application Commands"; `Command names`: 1-32 characters, lower case for slash commands.
"""

import re
from collections.abc import Callable

from sandbox.errors import invalid_form
from sandbox.model import Json

SLASH, USER_MENU, MESSAGE_MENU = 1, 2, 3
SUBCOMMAND, SUBCOMMAND_GROUP = 1, 2
MAX_COMMANDS = {SLASH: 100, USER_MENU: 15, MESSAGE_MENU: 15}
MAX_OPTIONS = 25
MAX_CHOICES = 25
_NAME = re.compile(r"[-_'\w]{1,32}")


def register(
    body: list[Json] | None,
    *,
    application_id: int,
    guild_id: int | None,
    before: list[Json],
    new_id: Callable[[], int],
) -> list[Json]:
    """Check a bulk overwrite and return the commands as Discord keeps them.

    A command keeps its id while its type and name stay.

    Raises:
        DiscordError: 50035 naming the first field that breaks a rule.
    """
    body = body or []
    ids = {(each["type"], each["name"]): each["id"] for each in before}
    taken: set[tuple[int, str]] = set()
    registered = []
    for at, command in enumerate(body):
        kind = command.get("type") or SLASH
        _check_command(command, kind, str(at))
        key = (kind, command["name"])
        if key in taken:
            message = "Application command names must be unique"
            raise invalid_form(f"{at}.name", "APPLICATION_COMMANDS_DUPLICATE_NAME", message)
        taken.add(key)
        if sum(1 for other, _ in taken if other == kind) > MAX_COMMANDS[kind]:
            message = f"Must be {MAX_COMMANDS[kind]} or fewer in length."
            raise invalid_form(str(at), "BASE_TYPE_MAX_LENGTH", message)
        kept = _kept(command, kind)
        kept["id"] = ids.get(key) or str(new_id())
        kept |= {"application_id": str(application_id), "version": str(new_id())}
        if guild_id is not None:
            kept["guild_id"] = str(guild_id)
        registered.append(kept)
    return registered


def _kept(command: Json, kind: int) -> Json:
    permissions = command.get("default_member_permissions")
    kept = {key: value for key, value in command.items() if value is not None}
    kept |= {
        "type": kind,
        "description": command.get("description") or "",
        "default_member_permissions": None if permissions is None else str(permissions),
        "nsfw": command.get("nsfw") or False,
    }
    kept.pop("options", None)
    if kind == SLASH and command.get("options"):
        kept["options"] = [_kept_option(option) for option in command["options"]]
    return kept


def _kept_option(option: Json) -> Json:
    kept = {key: value for key, value in option.items() if value is not None}
    if "options" in kept:
        kept["options"] = [_kept_option(inside) for inside in kept["options"]]
    return kept


def _check_command(command: Json, kind: int, path: str) -> None:
    name = command.get("name") or ""
    if kind == SLASH:
        _check_name(name, f"{path}.name")
        _check_length(command.get("description"), 100, f"{path}.description")
        _check_options(command.get("options") or [], path)
    else:
        _check_length(name, 32, f"{path}.name")


def _check_name(name: str, path: str) -> None:
    if not _NAME.fullmatch(name) or name != name.lower():
        message = "Command name is invalid"
        raise invalid_form(path, "APPLICATION_COMMAND_INVALID_NAME", message)


def _check_length(text: str | None, limit: int, path: str) -> None:
    if not 1 <= len(text or "") <= limit:
        message = f"Must be between 1 and {limit} in length."
        raise invalid_form(path, "BASE_TYPE_BAD_LENGTH", message)


def _check_options(options: list[Json], path: str) -> None:
    if len(options) > MAX_OPTIONS:
        message = f"Must be {MAX_OPTIONS} or fewer in length."
        raise invalid_form(f"{path}.options", "BASE_TYPE_MAX_LENGTH", message)
    seen_optional = False
    for at, option in enumerate(options):
        where = f"{path}.options.{at}"
        _check_name(option.get("name") or "", f"{where}.name")
        _check_length(option.get("description"), 100, f"{where}.description")
        if option["type"] in {SUBCOMMAND, SUBCOMMAND_GROUP}:
            _check_options(option.get("options") or [], where)
            continue
        if len(option.get("choices") or []) > MAX_CHOICES:
            message = f"Must be {MAX_CHOICES} or fewer in length."
            raise invalid_form(f"{where}.choices", "BASE_TYPE_MAX_LENGTH", message)
        if option.get("required") and seen_optional:
            code = "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID"
            message = "Required options must be placed before non-required options"
            raise invalid_form(where, code, message)
        seen_optional = seen_optional or not option.get("required")
