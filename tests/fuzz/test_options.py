"""The door of commands: options of any type and value, to the sentence or the reply that answers.

A case is the `data` of an interaction: `/generate`, `/verify`, the message command, autocompletion,
and commands that are none of ours. Files in it lie where nobody answers.
"""

import json
from typing import Any

from hypothesis import strategies as st

from bot.verify_commands import MENU_NAME
from tests.fuzz.discord_cut import CutBot, at_cut_bot
from tests.fuzz.door import UNHURRIED, Door
from tests.fuzz.interactions import AUTOCOMPLETE, COMMAND, interaction
from tests.fuzz.json_cases import ANY_JSON, ANY_TEXT, NUMBERS, changed
from tests.fuzz.played_discord import ASKER_ID, USER, message

NOBODYS = "http://127.0.0.1:9/x"
STRING, INTEGER, ATTACHMENT, NUMBER = 3, 4, 11, 10
TYPES = {
    "prompt": STRING,
    "length": INTEGER,
    "temperature": NUMBER,
    "top_k": INTEGER,
    "top_p": NUMBER,
    "seed": INTEGER,
    "model": STRING,
    "text": STRING,
    "file": ATTACHMENT,
}
FILE: dict[str, Any] = {
    "id": "5",
    "filename": "a.txt",
    "size": 3,
    "url": NOBODYS,
    "proxy_url": NOBODYS,
    "content_type": "text/plain",
}
USERS = {str(ASKER_ID): {**USER, "id": str(ASKER_ID)}}
MESSAGE = message("4", author=USERS[str(ASKER_ID)], content="words", attachments=[FILE])

values = st.one_of(
    *(ANY_JSON, NUMBERS, ANY_TEXT, st.just("5")),
    st.sampled_from((0, 1, 0.5, 1023, 1024, 2.0, 50257, 2**53 - 1, "124M", "x" * 6001, "\ud800")),
)

IN_TYPE: dict[int, st.SearchStrategy[Any]] = {
    STRING: st.one_of(ANY_TEXT, st.sampled_from(("124M", "x" * 6001))),
    INTEGER: st.one_of(
        st.integers(0, 1100), st.sampled_from((-1, 50257, 50258, 2**53 - 1, 2**63, -(2**63)))
    ),
    NUMBER: st.one_of(st.floats(-1.0, 3.0), st.sampled_from((0, 1, 2.0, 1e308))),
    ATTACHMENT: st.just("5"),
}


def _option(name: str, value: Any, kind: int | None, *, is_focused: bool) -> dict[str, Any]:
    option = {"name": name, "type": TYPES.get(name, STRING) if kind is None else kind}
    return {**option, "value": value, **({"focused": True} if is_focused else {})}


options = st.builds(
    _option,
    st.one_of(st.sampled_from(tuple(TYPES)), st.sampled_from(tuple(TYPES)), ANY_TEXT),
    values,
    st.one_of(st.none(), st.none(), st.integers(0, 12)),
    is_focused=st.booleans(),
)
resolved = st.sampled_from(
    ({}, {"attachments": {"5": FILE}}, {"messages": {"4": MESSAGE}, "users": USERS}, {"users": {}})
)


def _calls(command: str, *names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Call a command with values of the types that it asks for, as Discord sees to."""
    given = st.sampled_from(names).flatmap(
        lambda name: st.builds(
            _option, st.just(name), IN_TYPE[TYPES[name]], st.none(), is_focused=st.booleans()
        )
    )
    return st.fixed_dictionaries(
        {
            "id": st.just("7"),
            "name": st.just(command),
            "type": st.just(1),
            "options": st.lists(given, max_size=5, unique_by=lambda option: str(option["name"])),
            "resolved": st.just({"attachments": {"5": FILE}}),
        }
    )


commands = st.fixed_dictionaries(
    {
        "id": st.just("7"),
        "name": st.one_of(st.sampled_from(("generate", "generate", "verify")), ANY_TEXT),
        "type": st.sampled_from((1, 1, 1, 1, 1, 2, 99)),
    },
    optional={"options": st.lists(options, max_size=8), "resolved": resolved},
)
menus = st.fixed_dictionaries(
    {
        "id": st.just("7"),
        "name": st.sampled_from((MENU_NAME, MENU_NAME, "Another")),
        "type": st.sampled_from((3, 3, 3, 2)),
        "target_id": st.one_of(st.just("4"), st.just("4"), ANY_JSON),
        "resolved": st.just({"messages": {"4": MESSAGE}, "users": USERS}),
    }
)
CASES = st.tuples(
    st.one_of(
        _calls("generate", "prompt", "length", "temperature", "top_k", "top_p", "seed", "model"),
        _calls("verify", "text", "file"),
        changed(st.one_of(commands, menus), "name", "type"),
    ).map(json.dumps),
    st.sampled_from((COMMAND, COMMAND, COMMAND, AUTOCOMPLETE)),
    st.booleans(),
)


async def _try(bot: CutBot, case: tuple[str, int, bool]) -> None:
    await bot.begin()
    data, kind, in_guild = json.loads(case[0]), *case[1:]
    await bot.hear("interaction_create", interaction(bot, kind, data, in_guild=in_guild))
    await bot.write("Written.")
    if _has_its_types(data):
        # The library says so itself where there is nothing to complete; nobody waits for a word.
        bot.check_logs(but_for="Ignoring exception in autocomplete")
    if kind == COMMAND:
        assert bot.discord.acknowledged == 1, "Discord would say: the application did not respond"
        assert len(bot.discord.shown) == 1, "one answer"


def _has_its_types(data: dict[str, Any]) -> bool:
    """Say whether options are of the types that the command has: Discord sends no others."""
    given = data.get("options")
    wanted: dict[int, Any] = {STRING: str, INTEGER: int, NUMBER: (int, float), ATTACHMENT: str}
    return isinstance(given, list) and all(
        isinstance(each, dict)
        and each.get("type") in tuple(wanted)
        and each["type"] == TYPES.get(str(each.get("name")), each["type"])
        and isinstance(each.get("value"), wanted[each["type"]])
        for each in given
    )


_NOT_THERE = _option("file", "5", None, is_focused=False)
_NO_ID = _option("file", "", None, is_focused=True)
_NO_URL = MESSAGE | {"attachments": [{"id": "5", "filename": "a.txt", "size": 3}]}
ONCE_FAILED = (
    (json.dumps({"name": "verify", "type": 1, "options": [_NO_ID]}), COMMAND, True),
    (json.dumps({"name": "verify", "type": 1, "options": [_NOT_THERE]}), COMMAND, True),
    (json.dumps({"name": "generate", "type": 1, "options": [{}]}), COMMAND, False),
    (json.dumps({"name": "generate", "type": 1, "options": None}), AUTOCOMPLETE, False),
    (
        json.dumps(
            {
                "name": MENU_NAME,
                "type": 3,
                "target_id": "4",
                "resolved": {"messages": {"4": _NO_URL}},
            }
        ),
        COMMAND,
        True,
    ),
)
"""What the library cannot read ended without an answer."""
DOOR = Door("options", CASES, at_cut_bot(_try), ONCE_FAILED)


@UNHURRIED
def test_whatever_is_given_to_a_command_is_answered():
    DOOR.try_cases()
