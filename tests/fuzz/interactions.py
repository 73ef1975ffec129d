"""INTERACTION_CREATE as Discord sends it, around whatever was given to a command or a button."""

from typing import Any

from tests.fuzz.discord_cut import CutBot
from tests.fuzz.played_discord import ASKER_ID, BOT_ID, CHANNEL_ID, GUILD_ID, USER, Json

COMMAND, COMPONENT, AUTOCOMPLETE = 2, 3, 4
MAY_DO_ALL = str(2**50 - 1)


def interaction(bot: CutBot, kind: int, data: Any, *, in_guild: bool) -> Json:
    """Wrap what was given."""
    user = {**USER, "id": str(ASKER_ID), "username": "ada"}
    member: Json = {
        "user": user,
        "roles": [],
        "joined_at": None,
        "permissions": MAY_DO_ALL,
        "flags": 0,
    }
    where: Json = {"user": user, "context": 1}
    if in_guild:
        where = {"guild_id": str(GUILD_ID), "member": member, "context": 0, "guild_locale": "fr"}
    return {
        "id": bot.new_id(),
        "application_id": str(BOT_ID),
        "type": kind,
        "token": bot.new_id(),
        "version": 1,
        "locale": "en-GB",
        "channel_id": str(CHANNEL_ID),
        "data": data,
        "channel": {"id": str(CHANNEL_ID), "type": 0 if in_guild else 1},
        "entitlements": [],
        "attachment_size_limit": 0,
        "app_permissions": MAY_DO_ALL,
        "authorizing_integration_owners": {},
        **where,
    }
