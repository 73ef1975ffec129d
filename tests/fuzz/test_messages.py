"""The door of messages: what people write, and how Discord wraps it, to what the bot posts.

A case is a MESSAGE_CREATE; an engine then writes the very words that the message holds.
"""

import json
from typing import Any

from hypothesis import strategies as st

from tests.bot.label_cases import FRAGMENTS
from tests.fuzz.discord_cut import CutBot, UnreadableError, at_cut_bot
from tests.fuzz.door import UNHURRIED, Door
from tests.fuzz.json_cases import ANY_JSON, ANY_TEXT, changed
from tests.fuzz.played_discord import (
    ASKER_ID,
    BOT_ID,
    CHANNEL_ID,
    GUILD_ID,
    OTHER_ID,
    ROLE_ID,
    USER,
    check_reply,
)

MAX_CONTENT_CHARS = 4000
"""What Discord lets people write who pay for it."""
MENTIONS = (
    *(f"<@{BOT_ID}>", f"<@!{BOT_ID}>", f"<@{OTHER_ID}>", f"<@&{ROLE_ID}>", f"<#{CHANNEL_ID}>"),
    *(f"<@{2**64}>", "<@>", "<@1", "@everyone", "<a:x:1>", "<:x:99999999999999999999>", "\ud800"),
)

words = st.one_of(ANY_TEXT, st.sampled_from(FRAGMENTS), st.sampled_from(MENTIONS))
contents = st.builds(
    lambda pieces, times: ("".join(pieces) * times)[:MAX_CONTENT_CHARS],
    st.lists(words, max_size=12),
    st.one_of(st.just(1), st.integers(1, 4000)),
)
names = st.one_of(st.sampled_from(("Ada", "ada", "", "x" * 80)), ANY_TEXT)


def _user(user_id: int, name: str, nick: str | None) -> dict[str, Any]:
    user = {**USER, "id": str(user_id), "username": name, "global_name": nick}
    member: dict[str, Any] = {
        "nick": nick,
        "roles": [],
        "joined_at": "2026-01-01T00:00:00+00:00",
        "flags": 0,
    }
    return {**user, "member": {**member, "deaf": False, "mute": False}}


users = st.builds(
    _user, st.sampled_from((BOT_ID, ASKER_ID, OTHER_ID)), names, st.one_of(st.none(), names)
)
attachments = st.fixed_dictionaries(
    {
        "id": st.just("5"),
        "filename": names,
        "size": st.integers(0, 2**40),
        "url": st.just("x:"),
        "proxy_url": st.just("x:"),
    },
    optional={"content_type": names, "description": names},
)
snapshots = st.builds(
    lambda content: {
        "content": content,
        "type": 0,
        "timestamp": "2026-01-01T00:00:00+00:00",
        "edited_timestamp": None,
        "mentions": [],
        "mention_roles": [],
        "flags": 0,
        "attachments": [],
        "embeds": [],
        "components": [],
    },
    contents,
)
messages = st.fixed_dictionaries(
    {
        "channel_id": st.just(str(CHANNEL_ID)),
        "type": st.sampled_from((0, 0, 0, 19, 19, 7, 21, 20, 99)),
        "author": users,
        "content": contents,
        "timestamp": st.just("2026-01-01T00:00:00+00:00"),
        "edited_timestamp": st.none(),
        "tts": st.booleans(),
        "mention_everyone": st.booleans(),
        "mentions": st.one_of(
            st.lists(users, max_size=3), st.just([_user(BOT_ID, "Ovid", None) | {"bot": True}])
        ),
        "mention_roles": st.lists(st.sampled_from((str(ROLE_ID), "99")), max_size=2),
        "attachments": st.lists(attachments, max_size=2),
        "embeds": st.lists(st.fixed_dictionaries({}, optional={"title": names}), max_size=1),
        "pinned": st.just(value=False),
    },
    optional={
        "guild_id": st.sampled_from((str(GUILD_ID), str(GUILD_ID), "77")),
        "webhook_id": st.sampled_from((None, None, None, "8")),
        "flags": st.integers(0, 2**20),
        "nonce": st.one_of(st.integers(), names),
        "message_reference": st.fixed_dictionaries(
            {"channel_id": st.just("11")},
            optional={"message_id": st.just("4"), "type": st.sampled_from((0, 1, 99))},
        ),
        "referenced_message": st.none(),
        "message_snapshots": st.lists(st.fixed_dictionaries({"message": snapshots}), max_size=2),
        "sticker_items": st.just([{"id": "6", "name": "Wave", "format_type": 1}]),
        "components": st.just([]),
        "a field of tomorrow": ANY_JSON,
    },
)
PROMISED = ("author", "channel_id", "content", "mentions", "mention_roles", "type")
"""Discord's documentation has these in every message, whole."""
CASES = changed(messages, *PROMISED).map(json.dumps)


async def _try(bot: CutBot, case: str) -> None:
    await bot.begin()
    message = json.loads(case) | {"id": bot.new_id()}
    try:
        await bot.hear("message_create", message)
    except UnreadableError:
        return
    told = list(bot.discord.shown.values())
    text = message["content"].encode(errors="replace").decode()
    written = await bot.write(text)
    bot.check_logs()
    if not _asks(message):
        assert not written
        assert not bot.discord.shown
        return
    assert len(written) + len(told) == 1, "exactly one reply, or one sentence why not"
    if written and text:
        check_reply(list(bot.discord.shown.values()), text)
    elif told:
        assert told[0].startswith("⚠️")


def _asks(message: dict[str, Any]) -> bool:
    """Say whether a person spoke to the bot; by Discord's documentation, not the bot's rules."""
    if (
        message["author"].get("bot")
        or message.get("webhook_id") is not None
        or message["type"] not in {0, 19}
    ):
        return False
    is_private = message.get("guild_id") is None
    return is_private or any(each["id"] == str(BOT_ID) for each in message["mentions"])


DOOR = Door("messages", CASES, at_cut_bot(_try))


@UNHURRIED
def test_whatever_people_write_is_answered_once_with_its_label_and_no_ping():
    DOOR.try_cases()
