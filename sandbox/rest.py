"""The REST routes for users, channels, messages, reactions and commands; knows no socket.

Source: discord.com/developers/docs and Discord's OpenAPI document.
"""

from collections.abc import Callable

from sandbox import commands
from sandbox.calls import Call, Route
from sandbox.errors import DiscordError, Refusal, invalid_form
from sandbox.model import Channel, Json, Message
from sandbox.payloads import View, user_json
from sandbox.rules import Setting, read_draft
from sandbox.world import World

_MESSAGES = "/channels/{channel_id}/messages"
_MESSAGE = _MESSAGES + "/{message_id}"
_REACTION = _MESSAGE + "/reactions/{emoji_name}/@me"
_COMMANDS = "/applications/{application_id}/commands"
_GUILD_COMMANDS = "/applications/{application_id}/guilds/{guild_id}/commands"
HISTORY_LIMIT = 100


class Rest:
    """The handlers, over one world as our bot sees it."""

    def __init__(
        self,
        world: World,
        view: Callable[[], View],
        gateway_url: Callable[[], str],
        on_commands: Callable[[], None],
    ) -> None:
        self._world = world
        self._view = view
        self._gateway_url = gateway_url
        self._on_commands = on_commands

    def routes(self) -> list[Route]:
        """List what is served."""
        return [
            Route("GET", "/users/@me", self.get_me),
            Route("GET", "/users/@me/guilds", self.list_guilds),
            Route("GET", "/oauth2/applications/@me", self.get_application),
            Route("GET", "/applications/@me", self.get_application),
            Route("GET", "/gateway", self.get_gateway, open=True),
            Route("GET", "/gateway/bot", self.get_gateway_bot),
            Route("GET", "/users/{user_id}", self.get_user),
            Route("POST", "/users/@me/channels", self.open_dm),
            Route("GET", "/guilds/{guild_id}/channels", self.list_channels),
            Route("GET", "/guilds/{guild_id}/members/{user_id}", self.get_member),
            Route("GET", "/channels/{channel_id}", self.get_channel),
            Route("POST", "/channels/{channel_id}/typing", self.type_in),
            Route("GET", _MESSAGES, self.list_messages),
            Route("POST", _MESSAGES, self.post_message),
            Route("GET", _MESSAGE, self.get_message),
            Route("PATCH", _MESSAGE, self.edit_message),
            Route("DELETE", _MESSAGE, self.delete_message),
            Route("PUT", _REACTION, self.react),
            Route("DELETE", _REACTION, self.unreact),
            Route("GET", _COMMANDS, self.list_commands),
            Route("PUT", _COMMANDS, self.put_commands),
            Route("GET", _GUILD_COMMANDS, self.list_commands),
            Route("PUT", _GUILD_COMMANDS, self.put_commands),
        ]

    def get_me(self, _: Call) -> Json:
        """Return our bot's user."""
        about = {"mfa_enabled": True, "locale": "en-US", "verified": True, "email": None}
        return user_json(self._world.bot) | about

    def list_guilds(self, _: Call) -> list[Json]:
        """Return the guild, and what our bot may do in it."""
        guild, bot = self._world.guild, self._world.bot
        if not self._world.rights.is_in_guild:
            return []
        about: Json = {"icon": None, "banner": None, "owner": False, "features": []}
        may = {"permissions": str(self._view().permissions(bot))}
        return [{"id": str(guild.id), "name": guild.name, **about, **may}]

    def get_application(self, _: Call) -> Json:
        """Return our bot's application."""
        bot = self._world.bot
        return {
            "id": str(bot.id),
            "name": bot.name,
            "icon": None,
            "description": "",
            "type": None,
            "bot": user_json(bot),
            "bot_public": True,
            "bot_require_code_grant": False,
            "verify_key": "0" * 64,
            "flags": 0,
            "flags_new": "0",
            "redirect_uris": [],
            "interactions_endpoint_url": None,
            "role_connections_verification_url": None,
            "owner": user_json(self._world.alice),
            "approximate_guild_count": 1,
            "approximate_user_install_count": 0,
            "approximate_user_authorization_count": 0,
            "explicit_content_filter": 0,
            "team": None,
            "eligible_oauth2_scopes": [],
        }

    def get_gateway(self, _: Call) -> Json:
        """Return where the gateway is."""
        return {"url": self._gateway_url()}

    def get_gateway_bot(self, _: Call) -> Json:
        """Return where the gateway is and how many shards and sessions are advised."""
        limit = {"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": 1}
        return {"url": self._gateway_url(), "shards": 1, "session_start_limit": limit}

    def get_user(self, call: Call) -> Json:
        """Return a user."""
        user = self._world.users.get(call.snowflake("user_id"))
        if user is None:
            raise DiscordError(Refusal.UNKNOWN_USER)
        return user_json(user)

    def open_dm(self, call: Call) -> Json:
        """Return the direct messages with a person."""
        recipient_id = int(call.json().get("recipient_id") or 0)
        if recipient_id not in self._world.users:
            raise DiscordError(Refusal.UNKNOWN_USER)
        if recipient_id not in self._world.dms:
            raise DiscordError(Refusal.CANNOT_MESSAGE_USER)
        return self._view().channel(self._world.dms[recipient_id])

    def list_channels(self, call: Call) -> list[Json]:
        """Return the server's channels, those that our bot cannot see too."""
        self._check_guild(call)
        return [self._view().channel(each) for each in self._world.text_channels]

    def get_member(self, call: Call) -> Json:
        """Return a member of the server."""
        self._check_guild(call)
        user = self._world.users.get(call.snowflake("user_id"))
        if user is None:
            raise DiscordError(Refusal.UNKNOWN_USER)
        voice = {"mute": False, "deaf": False}
        return {**self._view().member(user), **voice, "user": user_json(user)}

    def _check_guild(self, call: Call) -> None:
        if call.snowflake("guild_id") != self._world.guild.id:
            raise DiscordError(Refusal.UNKNOWN_GUILD)
        if not self._world.rights.is_in_guild:
            raise DiscordError(Refusal.MISSING_ACCESS)

    def get_channel(self, call: Call) -> Json:
        """Return a channel."""
        return self._view().channel(self._channel(call))

    def type_in(self, call: Call) -> None:
        """Show that our bot is typing."""
        channel = self._channel(call)
        self._world.rights.check_writes(channel)
        self._world.type_in(self._world.bot, channel)

    def list_messages(self, call: Call) -> list[Json]:
        """Return messages, newest first: the last ones, or those around, before or after an id."""
        limit = int(call.query.get("limit", 50))
        if not 1 <= limit <= HISTORY_LIMIT:
            message = f"int value should be between 1 and {HISTORY_LIMIT}."
            raise invalid_form("limit", "NUMBER_TYPE_MAX", message)
        channel = self._channel(call)
        if not self._world.rights.reads_history(channel):
            return []
        history = [m for m in self._world.history(channel) if m.visible_to is None]
        if "after" in call.query:
            after = int(call.query["after"])
            chosen = [m for m in history if m.id > after][:limit]
        elif "around" in call.query:
            middle = int(call.query["around"])
            older = [m for m in history if m.id < middle][-(limit // 2) :]
            chosen = older + [m for m in history if m.id >= middle][: limit - len(older)]
        else:
            before = int(call.query.get("before", 1 << 63))
            chosen = [m for m in history if m.id < before][-limit:]
        return [self._view().message(message) for message in reversed(chosen)]

    def post_message(self, call: Call) -> Json:
        """Post a message; with `enforce_nonce` a repeat returns the first one."""
        channel, body = self._channel(call), call.json()
        as_reply = body.get("message_reference") is not None
        self._world.rights.check_writes(channel, as_reply=as_reply)
        nonce = body.get("nonce")
        if nonce is not None and body.get("enforce_nonce"):
            first = self._world.find_by_nonce(self._world.bot, channel, nonce)
            if first is not None:
                return self._view().posted(first)
        reference = self._reference(channel, body)
        replied_to = reference.author.id if reference else None
        setting = Setting(self._world.new_id, replied_to=replied_to)
        draft = read_draft(body, call.files, setting)
        bot = self._world.bot
        message = self._world.post(bot, channel, draft, reference=reference, nonce=nonce)
        return self._view().posted(message)

    def _reference(self, channel: Channel, body: Json) -> Message | None:
        reference = body.get("message_reference")
        if reference is None:
            return None
        message = self._world.messages.get(int(reference.get("message_id") or 0))
        if message is not None and message.channel == channel:
            return message
        if reference.get("fail_if_not_exists", True):
            code = "MESSAGE_REFERENCE_UNKNOWN_MESSAGE"
            raise invalid_form("message_reference", code, "Unknown message")
        return None

    def get_message(self, call: Call) -> Json:
        """Return a message."""
        return self._view().message(self._message(call))

    def edit_message(self, call: Call) -> Json:
        """Change the fields that the body names."""
        message = self._message(call)
        if message.author != self._world.bot:
            raise DiscordError(Refusal.NOT_THE_AUTHOR)
        replied_to = message.reference.author.id if message.reference else None
        setting = Setting(self._world.new_id, before=message.draft, replied_to=replied_to)
        self._world.edit(message, read_draft(call.json(), call.files, setting))
        return self._view().message(message)

    def delete_message(self, call: Call) -> None:
        """Delete one of our bot's messages: it may not manage those of others."""
        message = self._message(call)
        if message.author != self._world.bot:
            raise DiscordError(Refusal.MISSING_PERMISSIONS)
        self._world.delete(message)

    def react(self, call: Call) -> None:
        """Put our bot's emoji on a message."""
        self._world.react(self._world.bot, self._message(call), call.params["emoji_name"])

    def unreact(self, call: Call) -> None:
        """Take our bot's emoji off a message."""
        self._world.unreact(self._world.bot, self._message(call), call.params["emoji_name"])

    def list_commands(self, call: Call) -> list[Json]:
        """Return the registered commands of one scope."""
        return self._world.commands.get(self._scope(call), [])

    def put_commands(self, call: Call) -> list[Json]:
        """Replace all commands of one scope."""
        scope = self._scope(call)
        before = self._world.commands.get(scope, [])
        registered = commands.register(
            call.body,
            application_id=self._world.bot.id,
            guild_id=scope,
            before=before,
            new_id=self._world.new_id,
        )
        self._world.commands[scope] = registered
        self._on_commands()
        return registered

    def _scope(self, call: Call) -> int | None:
        if call.snowflake("application_id") != self._world.bot.id:
            raise DiscordError(Refusal.UNKNOWN_APPLICATION)
        if "guild_id" not in call.params:
            return None
        if call.snowflake("guild_id") != self._world.guild.id:
            raise DiscordError(Refusal.UNKNOWN_GUILD)
        return self._world.guild.id

    def _channel(self, call: Call) -> Channel:
        channel = self._world.channels.get(call.snowflake("channel_id"))
        if channel is None:
            raise DiscordError(Refusal.UNKNOWN_CHANNEL)
        self._world.rights.check_sees(channel)
        return channel

    def _message(self, call: Call) -> Message:
        channel = self._channel(call)
        message = self._world.messages.get(call.snowflake("message_id"))
        if message is None or message.channel != channel or message.visible_to is not None:
            raise DiscordError(Refusal.UNKNOWN_MESSAGE)
        return message
