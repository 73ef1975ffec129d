"""The world as Discord's JSON, as our bot may see it; changes nothing and speaks to nobody.

Field names and required fields follow Discord's OpenAPI document (MessageResponse and so on).
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from sandbox.model import (
    EVERYONE,
    Attachment,
    Channel,
    Flags,
    Interaction,
    InteractionKind,
    Json,
    Message,
    User,
)
from sandbox.rights import MEMBER_PERMISSIONS, NOTHING, OWNER_PERMISSIONS
from sandbox.world import DISCORD_EPOCH_MS, World

TEXT_CHANNEL, DM_CHANNEL = 0, 1


def timestamp(snowflake: int) -> str:
    """Tell when an id was made, as Discord writes times.

    >>> timestamp(0)
    '2015-01-01T00:00:00+00:00'
    """
    made_ms = (snowflake >> 22) + DISCORD_EPOCH_MS
    return datetime.fromtimestamp(made_ms / 1000, UTC).isoformat()


def user_json(user: User) -> Json:
    """Make a UserResponse."""
    body: Json = {
        "id": str(user.id),
        "username": user.name,
        "discriminator": "0000" if user.bot else "0",
        "global_name": None if user.bot else user.name.title(),
        "avatar": None,
        "public_flags": 0,
        "flags": 0,
        "primary_guild": None,
    }
    return {**body, "bot": True} if user.bot else body


def owners_json(channel: Channel) -> Json:
    """Tell for whom the bot is installed: for the guild, and for itself in direct messages."""
    return {"0": str(channel.guild.id if channel.guild else 0)}


@dataclass(frozen=True, slots=True)
class View:
    """How a bot sees the world: payloads that show or hide what others wrote.

    Attributes:
        reads_content: Whether the bot has the message-content intent.
        cdn_url: Where attachments are served.
    """

    world: World
    reads_content: bool
    cdn_url: str

    def member(self, user: User) -> Json:
        """Make a guild member without its `user`."""
        guild = self.world.guild
        return {
            "roles": [str(guild.bot_role_id)] if user == self.world.bot else [],
            "flags": 0,
            "nick": None,
            "avatar": None,
            "banner": None,
            "joined_at": timestamp(guild.id),
            "premium_since": None,
            "communication_disabled_until": None,
            "pending": False,
            "deaf": False,
            "mute": False,
        }

    def permissions(self, user: User) -> int:
        """Tell what a user may do in the guild, as a bit field."""
        return OWNER_PERMISSIONS if user == self.world.guild.owner else MEMBER_PERMISSIONS

    def channel(self, channel: Channel) -> Json:
        """Make a GuildChannelResponse or a PrivateChannelResponse."""
        in_it = [message.id for message in self.world.history(channel) if not message.visible_to]
        body: Json = {
            "id": str(channel.id),
            "type": TEXT_CHANNEL if channel.guild else DM_CHANNEL,
            "flags": 0,
            "last_message_id": str(in_it[-1]) if in_it else None,
        }
        if channel.guild is None:
            recipients = [channel.recipient] if channel.recipient else []
            return {**body, "recipients": [user_json(user) for user in recipients]}
        siblings = self.world.text_channels
        return {
            **body,
            "guild_id": str(channel.guild.id),
            "name": channel.name,
            "position": siblings.index(channel) if channel in siblings else 0,
            "permission_overwrites": self._overwrites(channel),
            "parent_id": None,
            "nsfw": False,
            "topic": None,
            "rate_limit_per_user": 0,
        }

    def _overwrites(self, channel: Channel) -> list[Json]:
        denied = self.world.rights.denied(channel)
        if denied == NOTHING:
            return []
        role_id = str(self.world.guild.bot_role_id)
        return [{"id": role_id, "type": 0, "allow": "0", "deny": str(int(denied))}]

    def guild(self) -> Json:
        """Make the `d` of a GUILD_CREATE."""
        guild = self.world.guild
        members = [
            {**self.member(user), "user": user_json(user)} for user in self.world.users.values()
        ]
        return {
            "id": str(guild.id),
            "name": guild.name,
            "icon": None,
            "owner_id": str(guild.owner.id),
            "unavailable": False,
            "preferred_locale": guild.locale,
            "member_count": len(members),
            "members": members,
            "roles": [
                self._role(guild.id, "@everyone", 0),
                self._role(guild.bot_role_id, self.world.bot.name, 1),
            ],
            "channels": [self.channel(each) for each in self.world.text_channels],
            "features": [],
            "emojis": [],
            "stickers": [],
            "threads": [],
            "voice_states": [],
            "presences": [],
        }

    def _role(self, role_id: int, name: str, position: int) -> Json:
        return {
            "id": str(role_id),
            "name": name,
            "position": position,
            "permissions": str(int(MEMBER_PERMISSIONS)),
            "color": 0,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "managed": position > 0,
            "mentionable": False,
            "flags": 0,
        }

    def attachment(self, attachment: Attachment, channel: Channel) -> Json:
        """Make a MessageAttachmentResponse."""
        body = self._file(attachment, f"attachments/{channel.id}")
        if attachment.description is None:
            return body
        return {**body, "description": attachment.description}

    def given_file(self, attachment: Attachment) -> Json:
        """Make the AttachmentResponse of a file in a command's option."""
        folder = f"ephemeral-attachments/{self.world.bot.id}"
        return {**self._file(attachment, folder), "ephemeral": True}

    def _file(self, attachment: Attachment, folder: str) -> Json:
        url = f"{self.cdn_url}/{folder}/{attachment.id}/{quote(attachment.filename)}"
        return {
            "id": str(attachment.id),
            "filename": attachment.filename,
            "size": len(attachment.data),
            "url": url,
            "proxy_url": url,
            "content_type": attachment.content_type,
        }

    def posted(self, message: Message) -> Json:
        """Make the answer to a POST: it repeats the nonce, which Discord keeps nowhere."""
        body = self.message(message)
        return body if message.nonce is None else {**body, "nonce": message.nonce}

    def message(self, message: Message) -> Json:
        """Make a MessageResponse, with the message that it replies to.

        The content of other people's messages is blank without the message-content intent,
        unless they mention the bot or are written to it alone.
        """
        body = self._basic_message(message)
        if message.reactions:
            body["reactions"] = [self._reactions(message, emoji) for emoji in message.reactions]
        if message.reference is not None:
            replied = message.reference
            body["referenced_message"] = None if replied.deleted else self._basic_message(replied)
        return body

    def _basic_message(self, message: Message) -> Json:
        body = self._written(message) | {
            "id": str(message.id),
            "channel_id": str(message.channel.id),
            "author": user_json(message.author),
            "mention_everyone": EVERYONE in message.draft.pings,
            "pinned": False,
            "tts": False,
        }
        if message.forwarded is not None:
            body["message_snapshots"] = [{"message": self._written(message.forwarded)}]
        if not self._may_read(message):
            hidden = ("attachments", "embeds", "components", "message_snapshots")
            body |= {"content": ""} | {name: [] for name in hidden if name in body}
        return body | self._origin(message)

    def _written(self, message: Message) -> Json:
        """Make a MinimalContentMessageResponse: all that a forwarded message brings along."""
        draft = message.draft
        role_id = self.world.guild.bot_role_id
        return {
            "type": int(message.kind),
            "content": draft.content,
            "attachments": [self.attachment(each, message.channel) for each in draft.attachments],
            "embeds": [] if Flags.SUPPRESS_EMBEDS in draft.flags else draft.embeds,
            "components": draft.components,
            "mentions": [user_json(u) for u in self.world.users.values() if u.id in draft.pings],
            "mention_roles": [str(role_id)] if role_id in draft.pings else [],
            "flags": int(draft.flags),
            "timestamp": timestamp(message.id),
            "edited_timestamp": message.edited_at.isoformat() if message.edited_at else None,
        }

    def _origin(self, message: Message) -> Json:
        body: Json = {}
        if message.webhook_id is not None:
            body["webhook_id"] = str(message.webhook_id)
        reference = message.reference or message.forwarded
        if reference is not None:
            body["message_reference"] = {
                "type": 0 if message.reference else 1,
                "channel_id": str(reference.channel.id),
                "message_id": str(reference.id),
            }
            if reference.channel.guild:
                body["message_reference"]["guild_id"] = str(reference.channel.guild.id)
        if message.interaction is not None:
            body["application_id"] = str(self.world.bot.id)
            body["interaction_metadata"] = self._metadata(message.interaction)
            original = message.interaction.original
            if original is not None and message in message.interaction.followups:
                body["interaction_metadata"]["original_response_message_id"] = str(original.id)
        return body

    def _may_read(self, message: Message) -> bool:
        bot = self.world.bot
        return (
            self.reads_content
            or message.author == bot
            or message.channel.guild is None
            or bot.id in message.pings
        )

    def _reactions(self, message: Message, emoji: str) -> Json:
        users = message.reactions[emoji]
        return {
            "emoji": {"id": None, "name": emoji},
            "count": len(users),
            "count_details": {"burst": 0, "normal": len(users)},
            "burst_colors": [],
            "me": self.world.bot in users,
            "me_burst": False,
        }

    def _metadata(self, interaction: Interaction) -> Json:
        body: Json = {
            "id": str(interaction.id),
            "type": int(interaction.kind),
            "user": user_json(interaction.user),
            "authorizing_integration_owners": owners_json(interaction.channel),
        }
        if interaction.kind is InteractionKind.COMPONENT and interaction.message is not None:
            body["interacted_message_id"] = str(interaction.message.id)
        if interaction.opened_by is not None:
            body["triggering_interaction_metadata"] = self._metadata(interaction.opened_by)
        if "target_id" in interaction.data:
            body["target_message_id"] = interaction.data["target_id"]
        return body
