"""All state of the sandbox and every change of it; knows no HTTP, no gateway and no JSON.

Each change is published to the listeners and wakes everybody who waits in `wait_for`.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from sandbox.model import (
    Attachment,
    Channel,
    Draft,
    Guild,
    Interaction,
    InteractionKind,
    Json,
    Message,
    MessageKind,
    Reaction,
    Revision,
    Typing,
    User,
)
from sandbox.rights import May, Rights

DISCORD_EPOCH_MS = 1_420_070_400_000
NONCE_MEMORY_S = 300.0
"""For how long `enforce_nonce` finds the first message again: Discord says "a few minutes"."""

T = TypeVar("T")
Clock = Callable[[], float]
Subject = Message | Interaction | Typing | Reaction | Channel | Guild


@dataclass(frozen=True, slots=True)
class Event:
    """A change: Discord's event name and what changed."""

    name: str
    subject: Subject


class World:
    """One guild with two text channels, two people, our bot, another bot, and direct messages."""

    def __init__(self, clock: Clock, guild_locale: str = "en-US") -> None:
        self.clock = clock
        self._last_id = 0
        self._listeners: list[Callable[[Event], None]] = []
        self._waiters: set[asyncio.Future[None]] = set()
        self.alice = User(self.new_id(), "alice")
        self.bob = User(self.new_id(), "bob", locale="de")
        self.bot = User(self.new_id(), "Ovid", bot=True)
        self.other_bot = User(self.new_id(), "Parrot", bot=True)
        self.guild = Guild(self.new_id(), "Tomis", self.alice, self.new_id(), guild_locale)
        self.general = Channel(self.new_id(), "general", self.guild)
        self.random = Channel(self.new_id(), "random", self.guild)
        self.dms = {
            user.id: Channel(self.new_id(), user.name, None, recipient=user)
            for user in (self.alice, self.bob)
        }
        self.rights = Rights()
        self.users = {u.id: u for u in (self.alice, self.bob, self.bot, self.other_bot)}
        self.channels = {c.id: c for c in (self.general, self.random, *self.dms.values())}
        self.messages: dict[int, Message] = {}
        self.interactions: dict[str, Interaction] = {}
        """By token."""
        self.typing: list[Typing] = []
        self.commands: dict[int | None, list[Json]] = {}
        """Registered application commands by guild id; None holds the global ones."""

    def new_id(self) -> int:
        """Make a snowflake of the present moment that is larger than all before it."""
        now_ms = int(time.time() * 1000) - DISCORD_EPOCH_MS
        self._last_id = max(now_ms << 22, self._last_id + 1)
        return self._last_id

    def join(self, name: str) -> User:
        """Let a person join the server, with direct messages to the bot."""
        user = User(self.new_id(), name)
        self.users[user.id] = user
        dm = self.dms[user.id] = Channel(self.new_id(), name, None, recipient=user)
        self.channels[dm.id] = dm
        return user

    def open_channel(self, name: str) -> Channel:
        """Open one more text channel of the server; a bot that is connected hears nothing of it."""
        channel = Channel(self.new_id(), name, self.guild)
        self.channels[channel.id] = channel
        return channel

    @property
    def text_channels(self) -> list[Channel]:
        """The channels of the server."""
        return [channel for channel in self.channels.values() if channel.guild]

    def delete_channel(self, channel: Channel) -> None:
        """Take a channel away, and all that was said in it."""
        for message in self.history(channel):
            message.deleted = True
            del self.messages[message.id]
        del self.channels[channel.id]
        self.publish("CHANNEL_DELETE", channel)

    def deny_bot(self, channel: Channel, denied: May) -> None:
        """Change what a channel's own settings deny our bot."""
        self.rights.deny(channel, denied)
        self.publish("CHANNEL_UPDATE", channel)

    def remove_bot(self) -> None:
        """Take our bot out of the server."""
        self.rights.is_in_guild = False
        self.publish("GUILD_DELETE", self.guild)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` at every change from now on."""
        self._listeners.append(listener)

    def publish(self, name: str, subject: Subject) -> None:
        """Tell the listeners of a change; of one that they know already, it is a repeat."""
        for listener in self._listeners:
            listener(Event(name, subject))
        self.wake()

    def wake(self) -> None:
        """Let everybody in `wait_for` look again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_for(self, predicate: Callable[[], T | None], timeout_s: float) -> T:
        """Wait until `predicate()` is true, looking again at each change, and return its value.

        Raises:
            TimeoutError: after `timeout_s`, with the last messages that exist.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not (value := predicate()):
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiters.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._waiters.discard(waiter)
                return value
        except TimeoutError:
            last = [f"{m.author.name}: {m.content!r}" for m in list(self.messages.values())[-5:]]
            msg = f"not within {timeout_s} s; the last messages are: {'; '.join(last) or 'none'}"
            raise TimeoutError(msg) from None

    def post(
        self,
        author: User,
        channel: Channel,
        draft: Draft,
        *,
        reference: Message | None = None,
        nonce: str | int | None = None,
        interaction: Interaction | None = None,
        webhook_id: int | None = None,
        visible_to: User | None = None,
        kind: MessageKind | None = None,
        forwarded: Message | None = None,
    ) -> Message:
        """Put a message into a channel; a `reference` makes it a reply."""
        message = Message(
            id=self.new_id(),
            channel=channel,
            author=author,
            draft=draft,
            kind=kind or (MessageKind.REPLY if reference else MessageKind.DEFAULT),
            reference=reference,
            nonce=nonce,
            interaction=interaction,
            webhook_id=webhook_id,
            visible_to=visible_to,
            forwarded=forwarded,
            pings=set(draft.pings),
        )
        self._revise(message)
        self.messages[message.id] = message
        self.publish("MESSAGE_CREATE", message)
        return message

    def edit(self, message: Message, draft: Draft) -> None:
        """Replace what a message holds."""
        message.draft = draft
        message.pings |= draft.pings
        message.edited_at = datetime.now(UTC)
        self._revise(message)
        self.publish("MESSAGE_UPDATE", message)

    def _revise(self, message: Message) -> None:
        revision = Revision(message.content, list(message.components), self.clock())
        message.revisions.append(revision)

    def delete(self, message: Message) -> None:
        """Take a message away; who holds the object still sees what it said."""
        message.deleted = True
        del self.messages[message.id]
        self.publish("MESSAGE_DELETE", message)

    def react(self, user: User, message: Message, emoji: str) -> None:
        """Put an emoji on a message, once for each user."""
        users = message.reactions.setdefault(emoji, [])
        if user not in users:
            users.append(user)
            self.publish("MESSAGE_REACTION_ADD", Reaction(user, message, emoji))

    def unreact(self, user: User, message: Message, emoji: str) -> None:
        """Take an emoji off a message."""
        users = message.reactions.get(emoji, [])
        if user in users:
            users.remove(user)
            if not users:
                del message.reactions[emoji]
            self.publish("MESSAGE_REACTION_REMOVE", Reaction(user, message, emoji))

    def type_in(self, user: User, channel: Channel) -> None:
        """Show that a user is typing."""
        typing = Typing(user, channel, self.clock())
        self.typing.append(typing)
        self.publish("TYPING_START", typing)

    def interact(
        self,
        kind: InteractionKind,
        user: User,
        channel: Channel,
        data: Json,
        message: Message | None = None,
        opened_by: Interaction | None = None,
        files: Sequence[Attachment] = (),
    ) -> Interaction:
        """Let a user do something that the bot must answer."""
        interaction = Interaction(
            id=self.new_id(),
            token=secrets.token_urlsafe(48),
            kind=kind,
            user=user,
            channel=channel,
            data=data,
            created_s=self.clock(),
            files=list(files),
            message=message,
            opened_by=opened_by,
        )
        self.interactions[interaction.token] = interaction
        self.publish("INTERACTION_CREATE", interaction)
        return interaction

    def find_by_nonce(self, author: User, channel: Channel, nonce: str | int) -> Message | None:
        """Find the author's recent message with this nonce."""
        since_s = self.clock() - NONCE_MEMORY_S
        for message in self.messages.values():
            if (
                message.nonce == nonce
                and message.author == author
                and message.channel == channel
                and message.revisions[0].at_s >= since_s
            ):
                return message
        return None

    def history(self, channel: Channel) -> list[Message]:
        """List a channel's messages, oldest first, ephemeral ones included."""
        return [message for message in self.messages.values() if message.channel == channel]
