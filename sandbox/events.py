"""What happens in the world as gateway events: who is sent them, and what is in them.

Knows no connection and no session. Source: discord.com/developers/docs, "Gateway Events".
"""

import time
from dataclasses import replace
from enum import IntFlag

from sandbox.model import Channel, Guild, Interaction, Json, Message, Reaction, Typing, User
from sandbox.payloads import View, owners_json, user_json
from sandbox.rights import MEMBER_PERMISSIONS
from sandbox.rules import ATTACHMENT_BYTES
from sandbox.world import Event


class Intents(IntFlag):
    """The intents that gate what the sandbox sends, and the privileged ones."""

    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_REACTIONS = 1 << 10
    GUILD_MESSAGE_TYPING = 1 << 11
    DIRECT_MESSAGES = 1 << 12
    DIRECT_MESSAGE_REACTIONS = 1 << 13
    DIRECT_MESSAGE_TYPING = 1 << 14
    MESSAGE_CONTENT = 1 << 15


NO_INTENTS = Intents(0)
PRIVILEGED = Intents.GUILD_MEMBERS | Intents.GUILD_PRESENCES | Intents.MESSAGE_CONTENT

_MESSAGES = (Intents.GUILD_MESSAGES, Intents.DIRECT_MESSAGES)
_REACTIONS = (Intents.GUILD_MESSAGE_REACTIONS, Intents.DIRECT_MESSAGE_REACTIONS)
_TYPING = (Intents.GUILD_MESSAGE_TYPING, Intents.DIRECT_MESSAGE_TYPING)
_NEEDED = {
    "MESSAGE_CREATE": _MESSAGES,
    "MESSAGE_UPDATE": _MESSAGES,
    "MESSAGE_DELETE": _MESSAGES,
    "MESSAGE_REACTION_ADD": _REACTIONS,
    "MESSAGE_REACTION_REMOVE": _REACTIONS,
    "TYPING_START": _TYPING,
    "INTERACTION_CREATE": (NO_INTENTS, NO_INTENTS),
    "CHANNEL_UPDATE": (Intents.GUILDS, NO_INTENTS),
    "CHANNEL_DELETE": (Intents.GUILDS, NO_INTENTS),
    "GUILD_DELETE": (Intents.GUILDS, NO_INTENTS),
}


def guild_of(event: Event) -> Guild | None:
    """Tell in which server an event happened; None for direct messages."""
    match event.subject:
        case Guild() as guild:
            return guild
        case Channel() as channel:
            return channel.guild
        case Reaction() as reaction:
            return reaction.message.channel.guild
        case Message() | Interaction() | Typing() as happened:
            return happened.channel.guild


def is_told(event: Event, view: View) -> bool:
    """Tell whether the bot hears of it: not of ephemeral messages, nor of what it can't see."""
    rights = view.world.rights
    match event.subject:
        case Guild() | Interaction():
            return True
        case Channel():
            return rights.is_in_guild
        case Message() as message:
            return not message.visible_to and rights.sees(message.channel)
        case Typing() as typing:
            return rights.sees(typing.channel)
        case Reaction() as reaction:
            return rights.sees(reaction.message.channel)


def needed_intent(event: Event) -> Intents:
    """Tell which intent lets an event through."""
    in_guild, in_direct_messages = _NEEDED[event.name]
    return in_guild if guild_of(event) else in_direct_messages


def payload(view: View, event: Event) -> Json:
    """Make the `d` of an event."""
    match event.subject:
        case Guild() as guild:
            return {"id": str(guild.id)}
        case Channel() as channel:
            return view.channel(channel)
        case Message() as message:
            return _message(view, event.name, message)
        case Interaction() as interaction:
            return _interaction(view, interaction)
        case Typing() as typing:
            body = _in_channel(view, typing.channel, typing.user)
            return body | {"user_id": str(typing.user.id), "timestamp": int(time.time())}
        case Reaction() as reaction:
            return _in_channel(view, reaction.message.channel, reaction.user) | {
                "user_id": str(reaction.user.id),
                "message_id": str(reaction.message.id),
                "emoji": {"id": None, "name": reaction.emoji},
                "type": 0,
                "burst": False,
            }


def _in_channel(view: View, channel: Channel, user: User | None = None) -> Json:
    body: Json = {"channel_id": str(channel.id)}
    if channel.guild is None:
        return body
    body["guild_id"] = str(channel.guild.id)
    if user is None:
        return body
    return {**body, "member": {**view.member(user), "user": user_json(user)}}


def _message(view: View, name: str, message: Message) -> Json:
    where = _in_channel(view, message.channel)
    if name == "MESSAGE_DELETE":
        return where | {"id": str(message.id)}
    if message.channel.guild and message.author.id in view.world.users:
        where["member"] = view.member(message.author)
    shown = view.posted(message) if name == "MESSAGE_CREATE" else view.message(message)
    return shown | where


def _interaction(view: View, interaction: Interaction) -> Json:
    guild = interaction.channel.guild
    # Whoever acts on a message shows it to the bot, whatever its intents.
    open_view = replace(view, reads_content=True)
    body: Json = {
        "id": str(interaction.id),
        "application_id": str(view.world.bot.id),
        "type": int(interaction.kind),
        "token": interaction.token,
        "version": 1,
        "data": _interaction_data(open_view, interaction),
        "channel_id": str(interaction.channel.id),
        "channel": view.channel(interaction.channel),
        "locale": interaction.user.locale,
        "app_permissions": str(
            int(view.world.rights.left(interaction.channel) if guild else MEMBER_PERMISSIONS)
        ),
        "entitlements": [],
        "authorizing_integration_owners": owners_json(interaction.channel),
        "context": 0 if guild else 1,
        "attachment_size_limit": ATTACHMENT_BYTES,
    }
    if interaction.message is not None:
        body["message"] = open_view.message(interaction.message)
    user = user_json(interaction.user)
    if guild is None:
        return {**body, "user": user}
    permissions = str(view.permissions(interaction.user))
    return body | {
        "guild_id": str(guild.id),
        "guild_locale": guild.locale,
        "guild": {"id": str(guild.id), "locale": guild.locale, "features": []},
        "member": view.member(interaction.user) | {"user": user, "permissions": permissions},
    }


def _interaction_data(view: View, interaction: Interaction) -> Json:
    resolved: Json = {}
    target = interaction.data.get("target_id")
    if target is not None:
        resolved["messages"] = {target: view.message(view.world.messages[int(target)])}
    if interaction.files:
        resolved["attachments"] = {
            str(file.id): view.given_file(file) for file in interaction.files
        }
    return {**interaction.data, "resolved": resolved} if resolved else interaction.data
