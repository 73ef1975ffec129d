"""What there is to see in the sandbox, by whoever looks on; changes nothing and knows no HTTP."""

from collections.abc import Callable
from typing import TypeVar

from sandbox.model import Channel, Guild, Message, Typing, User
from sandbox.world import World

T = TypeVar("T")


class Scene:
    """The server with its channels and people, and what was said."""

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def alice(self) -> User:
        """The owner of the server."""
        return self.world.alice

    @property
    def bob(self) -> User:
        """A member without special rights, whose client speaks German."""
        return self.world.bob

    @property
    def bot_user(self) -> User:
        """The bot that is connected."""
        return self.world.bot

    @property
    def other_bot(self) -> User:
        """A bot of somebody else, moved with `say`."""
        return self.world.other_bot

    @property
    def guild(self) -> Guild:
        """The server."""
        return self.world.guild

    @property
    def general(self) -> Channel:
        """The first text channel."""
        return self.world.general

    @property
    def random(self) -> Channel:
        """The second text channel."""
        return self.world.random

    def dm(self, user: User) -> Channel:
        """Find the direct messages between a person and the bot."""
        return self.world.dms[user.id]

    def messages(self, channel: Channel, seen_by: User | None = None) -> list[Message]:
        """List a channel's messages, oldest first.

        Args:
            channel: Where to look.
            seen_by: Leave out what this person cannot see; None shows everything.
        """
        return [
            message
            for message in self.world.history(channel)
            if seen_by is None or message.visible_to in {None, seen_by}
        ]

    def bot_messages(self, channel: Channel) -> list[Message]:
        """List our bot's messages in a channel, oldest first."""
        return [m for m in self.world.history(channel) if m.author == self.world.bot]

    @property
    def typing(self) -> list[Typing]:
        """Every time that somebody was seen typing, oldest first."""
        return self.world.typing

    async def wait_for(self, predicate: Callable[[], T | None], timeout_s: float = 60.0) -> T:
        """Wait until `predicate()` is true, looking again at each change, and return its value.

        Raises:
            TimeoutError: after `timeout_s`, with the last messages that exist.
        """
        return await self.world.wait_for(predicate, timeout_s)

    async def wait_for_reply(self, message: Message, timeout_s: float = 60.0) -> Message:
        """Wait for the bot's reply to a message."""

        def reply() -> Message | None:
            mine = self.bot_messages(message.channel)
            return next((each for each in mine if each.reference is message), None)

        return await self.world.wait_for(reply, timeout_s)
