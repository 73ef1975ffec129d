"""One request as a handler sees it, and the table of handlers; knows no route and no socket."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.errors import DiscordError, Refusal, invalid_form
from sandbox.model import Json
from sandbox.rules import Upload


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has been read: `route` is the path as Discord's documents write it."""

    method: str
    route: str
    params: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    files: Mapping[int, Upload] = field(default_factory=dict)

    def snowflake(self, name: str) -> int:
        """Read an id out of the path.

        Raises:
            DiscordError: 50035 when it is no number.
        """
        value = self.params[name]
        if not value.isdecimal():
            message = f'Value "{value}" is not snowflake.'
            raise invalid_form(name, "NUMBER_TYPE_COERCE", message)
        return int(value)

    def json(self) -> Json:
        """Return the body, which must be an object.

        Raises:
            DiscordError: 50109 when it is not.
        """
        if not isinstance(self.body, dict):
            raise DiscordError(Refusal.INVALID_JSON)
        return self.body


Handler = Callable[[Call], Any]
"""Does a request's work at once and returns the answer's JSON; None is 204 No Content."""


@dataclass(frozen=True, slots=True)
class Route:
    """A method and path with its handler; `open` ones are called without the bot's token."""

    method: str
    path: str
    handler: Handler
    open: bool = False
