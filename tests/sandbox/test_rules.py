"""What the sandbox accepts in a body, and what it says of the rest."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import commands
from sandbox.errors import DiscordError
from sandbox.model import Attachment, Draft, Flags, Json
from sandbox.rules import Setting, Upload, pings, read_draft


def setting(**changes: Any) -> Setting:
    numbers = itertools.count(1)
    return Setting(lambda: next(numbers), **changes)


def button(**changes: Any) -> Json:
    return {"type": 2, "style": 1, "label": "Stop", "custom_id": "stop", **changes}


def rows(*buttons: Json) -> Json:
    return {"content": "x", "components": [{"type": 1, "components": list(buttons)}]}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"content": "x" * 2001}, "content"),
        (rows(*(button(custom_id=str(n)) for n in range(6))), "components.0.components"),
        (rows(button(custom_id="x" * 101)), "components.custom_id"),
        (rows(button(label="x" * 81)), "components.label"),
        (rows(button(custom_id=None)), "components.custom_id"),
        (rows(button(), button()), "components.custom_id"),
        (rows(), "components.0.components"),
        ({"embeds": [{}] * 11}, "embeds"),
        ({"embeds": [{"title": "x" * 257}]}, "embeds.0.title"),
        ({"embeds": [{"description": "x" * 4000}, {"description": "x" * 2001}]}, "embeds"),
        ({"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}}, "allowed"),
        ({"flags": int(Flags.COMPONENTS_V2), "content": "x"}, "content"),
    ],
)
def test_a_broken_limit_is_refused_with_the_name_of_the_field(body: Json, field: str):
    with pytest.raises(DiscordError) as refused:
        read_draft(body, {}, setting())
    assert refused.value.code == 50035
    path = []
    node = refused.value.errors
    while node is not None and "_errors" not in node:
        [(part, node)] = node.items()
        path.append(part)
    assert ".".join(path).startswith(field)


@pytest.mark.parametrize(
    "body", [{}, {"content": None}, {"content": "\n "}, {"embeds": []}, {"components": []}]
)
def test_an_empty_message_is_refused(body: Json):
    with pytest.raises(DiscordError) as refused:
        read_draft(body, {}, setting())
    assert refused.value.code == 50006


def test_the_largest_allowed_message_is_taken():
    full = [
        {
            "type": 1,
            "components": [button(custom_id=f"{row} {n}".ljust(100, "x")) for n in range(5)],
        }
        for row in range(5)
    ]
    draft = read_draft({"content": "x" * 2000, "components": full}, {}, setting())
    assert len(draft.content) == 2000
    assert len(draft.components) == 5


def test_an_edit_leaves_alone_what_it_does_not_name():
    file = Attachment(7, "a.txt", "text/plain", b"a")
    before = Draft("old", [{"type": 1}], [{"type": "rich"}], [file], Flags.EPHEMERAL, {5})
    edited = read_draft({"embeds": []}, {}, setting(before=before))
    assert edited == Draft("old", [{"type": 1}], [], [file], Flags.EPHEMERAL, {5})
    replaced = read_draft(
        {"attachments": [], "flags": 4},
        {0: Upload("b", "text/plain", b"b")},
        setting(before=before),
    )
    assert [each.filename for each in replaced.attachments] == ["b"]
    assert replaced.flags == Flags.EPHEMERAL | Flags.SUPPRESS_EMBEDS


def test_a_file_over_ten_mebibytes_is_refused():
    with pytest.raises(DiscordError) as refused:
        read_draft({}, {0: Upload("a", "a/b", bytes(10 * 2**20 + 1))}, setting())
    assert (refused.value.status, refused.value.code) == (413, 40005)


@given(st.text() | st.from_regex(r"(<@!?[0-9]{1,3}>|<@&[0-9]{1,3}>|@everyone|@here| )*"))
def test_nothing_in_a_text_pings_where_nothing_is_allowed(text: str):
    assert pings(text, {"parse": [], "replied_user": False}, 9, by_default=["users"]) == set()


def register(*bodies: Json) -> list[Json]:
    numbers = itertools.count(1)
    return commands.register(
        list(bodies), application_id=1, guild_id=None, before=[], new_id=lambda: next(numbers)
    )


def option(**changes: Any) -> Json:
    return {"type": 3, "name": "prompt", "description": "What to go on from", **changes}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "Generate", "description": "x"}, "APPLICATION_COMMAND_INVALID_NAME"),
        ({"name": "x" * 33, "description": "x"}, "APPLICATION_COMMAND_INVALID_NAME"),
        ({"name": "x", "description": ""}, "BASE_TYPE_BAD_LENGTH"),
        ({"name": "x", "description": "x" * 101}, "BASE_TYPE_BAD_LENGTH"),
        ({"name": "x", "description": "x", "options": [option()] * 26}, "BASE_TYPE_MAX_LENGTH"),
        (
            {"name": "x", "description": "x", "options": [option(), option(required=True)]},
            "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
        ),
        ({"name": "x" * 33, "type": 3}, "BASE_TYPE_BAD_LENGTH"),
    ],
)
def test_a_command_that_discord_would_refuse_is_refused(body: Json, code: str):
    with pytest.raises(DiscordError) as refused:
        register(body)
    assert code in str(refused.value.errors)


def test_a_hundred_slash_commands_fit_and_no_more():
    bodies = [{"name": f"c{n}", "description": "x"} for n in range(101)]
    assert len(register(*bodies[:100])) == 100
    with pytest.raises(DiscordError):
        register(*bodies)
    with pytest.raises(DiscordError):
        register(bodies[0], bodies[0])
