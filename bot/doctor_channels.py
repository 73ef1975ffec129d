"""Looks for channels in which the bot may not answer, though its server lets it. Changes nothing.

Source: discord.com/developers/docs, "Permissions", "Permission Overwrites".
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import Any

import discord

from wire.findings import Finding, few, note, warn

MAX_SERVERS_LOOKED_INTO = 20
"""Each takes two requests, and Discord answers fifty in a second."""
WITH_MESSAGES = frozenset((0, 5))
"""Text channels and those for announcements; threads have no settings of their own."""
NEEDED = discord.Permissions(view_channel=True, send_messages=True, read_message_history=True)

Overwrites = Sequence[Mapping[str, Any]]


async def look_into(
    client: discord.Client, servers: Sequence[Mapping[str, Any]], bot_id: int
) -> AsyncIterator[Finding]:
    """Ask for the channels of the first servers, and judge them.

    Args:
        client: Logged in.
        servers: As Discord lists those of a bot; in each its role lacks nothing.
        bot_id: Of the bot's user.
    """
    looks = (_channels_of(client, server, bot_id) for server in servers[:MAX_SERVERS_LOOKED_INTO])
    for found in await asyncio.gather(*looks):
        for each in found:
            yield each


async def _channels_of(
    client: discord.Client, server: Mapping[str, Any], bot_id: int
) -> list[Finding]:
    server_id = int(server["id"])
    try:
        channels = await client.http.get_all_guild_channels(server_id)
        member = await client.http.get_member(server_id, bot_id)
    except discord.HTTPException as error:
        said = f"those of {server['name']} cannot be looked at: status {error.status}"
        return [note("channels", said, "Try again later.")]
    ids = {server_id, bot_id, *map(int, member["roles"])}
    return list(judge_channels(server, channels, ids))


def judge_channels(
    server: Mapping[str, Any], channels: Sequence[Mapping[str, Any]], ids: Collection[int]
) -> Iterator[Finding]:
    """Judge what the channels of a server let the bot do.

    A channel that it does not see is nothing to speak of: it is closed to most.

    Args:
        server: As Discord lists those of a bot.
        channels: As Discord lists those of a server.
        ids: Of the server, the bot, and each of its roles.
    """
    base = discord.Permissions(int(server["permissions"]))
    if base.administrator:
        return
    rights = [
        (each["name"], permissions_in(base, each.get("permission_overwrites", ()), server, ids))
        for each in channels
        if each["type"] in WITH_MESSAGES
    ]
    good = [name for name, has in rights if has.is_superset(NEEDED)]
    mute = [f"#{name}" for name, has in rights if has.view_channel and not has.is_superset(NEEDED)]
    remedy = (
        "allow its role View Channel, Send Messages and Read Message History in the settings of "
        "the channel."
    )
    if rights and not good:
        said = f"in {server['name']} it may write, but in none of its channels"
        named = f": {few(mute)}" if mute else ", which it does not see"
        yield warn("channels", said + named, f"Where it should answer, {remedy}")
    elif mute:
        said = f"in {server['name']} it sees {len(mute)} where it may not answer: {few(mute)}"
        yield note("channels", said, f"If it should, {remedy}")


def permissions_in(
    base: discord.Permissions,
    overwrites: Overwrites,
    server: Mapping[str, Any],
    ids: Collection[int],
) -> discord.Permissions:
    """Work out what a channel leaves of what the server gives.

    Everybody's overwrite comes first, then those of all roles together, then the bot's own.
    """
    server_id = int(server["id"])
    ours = {int(each["id"]): each for each in overwrites if int(each["id"]) in ids}
    everybody = [each for number, each in ours.items() if number == server_id]
    roles = [each for number, each in ours.items() if number != server_id and each["type"] == 0]
    own = [each for each in ours.values() if each["type"] == 1]
    value = base.value
    for group in (everybody, roles, own):
        for each in group:
            value &= ~int(each["deny"])
        for each in group:
            value |= int(each["allow"])
    return discord.Permissions(value)
