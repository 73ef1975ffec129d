"""What a person wrote, as a prompt. Pure functions over plain data; knows neither jobs nor Discord.

The rules: the bot's own mention goes, wherever it stands, with the blanks after it; other
mentions, channels and emoji become what a reader sees (`@name`, `#channel`, `:emoji:`); white space
at both ends goes, since GPT-2 continues badly after it; all else stays as written. Nothing left is
an empty prompt, which asks for an unconditional sample.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_REFERENCE = re.compile(
    r"<(?P<kind>@!?|@&|#)(?P<id>[0-9]{1,20})>|<a?(?P<emoji>:\w{1,32}:)[0-9]{1,20}>"
)
_UNKNOWN = {"@": "@someone", "@!": "@someone", "@&": "@role", "#": "#channel"}


@dataclass(frozen=True, slots=True)
class Names:
    """What ids in a message are called, without the sign before them."""

    users: Mapping[int, str] = field(default_factory=dict)
    roles: Mapping[int, str] = field(default_factory=dict)
    channels: Mapping[int, str] = field(default_factory=dict)


def build_prompt(content: str, bot_id: int, names: Names | None = None) -> str:
    """Turn a message's content into a prompt.

    >>> build_prompt("<@1> Ask <@2> about", bot_id=1, names=Names(users={2: "Ada"}))
    'Ask @Ada about'
    >>> build_prompt("The cat <@1> sat", bot_id=1)
    'The cat sat'
    """
    own_mention = re.compile(rf"<@!?{bot_id}>[^\S\n]*")
    known = names or Names()
    return _REFERENCE.sub(
        lambda found: _readable(found, known), own_mention.sub("", content)
    ).strip()


def _readable(found: re.Match[str], names: Names) -> str:
    if found["emoji"]:
        return found["emoji"]
    kind, number = found["kind"], int(found["id"])
    called = {"@&": names.roles, "#": names.channels}.get(kind, names.users).get(number)
    return f"{kind[0]}{called}" if called else _UNKNOWN[kind]
