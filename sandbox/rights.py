"""What our bot may do in each channel, and who lets it write to them; knows no HTTP and no event.

Source: discord.com/developers/docs, "Permissions", and the refusals that its API is known for.
"""

from enum import IntFlag

from sandbox.errors import DiscordError, Refusal
from sandbox.model import Channel, User


class May(IntFlag):
    """Discord's permissions that occur here."""

    REACT = 1 << 6
    VIEW = 1 << 10
    SEND = 1 << 11
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_HISTORY = 1 << 16
    USE_COMMANDS = 1 << 31
    SEND_IN_THREADS = 1 << 38


NOTHING = May(0)
MEMBER_PERMISSIONS = (
    May.REACT | May.VIEW | May.SEND | May.EMBED_LINKS | May.ATTACH_FILES | May.READ_HISTORY
) | (May.USE_COMMANDS | May.SEND_IN_THREADS)
OWNER_PERMISSIONS = (1 << 53) - 1


class Rights:
    """The bot's rights, which begin as those of every member.

    Attributes:
        is_in_guild: Whether the bot is in the server at all.
        blocked_by: The people who take no direct messages from it.
    """

    def __init__(self) -> None:
        self.is_in_guild = True
        self.blocked_by: set[User] = set()
        self._denied: dict[int, May] = {}

    def deny(self, channel: Channel, denied: May) -> None:
        """Take rights away from the bot in one channel; what was taken before comes back."""
        self._denied[channel.id] = denied

    def denied(self, channel: Channel) -> May:
        """Tell what the channel's own settings deny the bot."""
        return self._denied.get(channel.id, NOTHING)

    def left(self, channel: Channel) -> May:
        """Tell what the bot may do in a channel of the server."""
        if not self.is_in_guild or May.VIEW in self.denied(channel):
            return NOTHING
        return MEMBER_PERMISSIONS & ~self.denied(channel)

    def sees(self, channel: Channel) -> bool:
        """Tell whether the bot sees a channel, a person's direct messages among them."""
        return channel.guild is None or May.VIEW in self.left(channel)

    def check_sees(self, channel: Channel) -> None:
        """Refuse what needs the sight of a channel.

        Raises:
            DiscordError: 50001 where the bot has none.
        """
        if not self.sees(channel):
            raise DiscordError(Refusal.MISSING_ACCESS)

    def check_writes(self, channel: Channel, *, as_reply: bool = False) -> None:
        """Refuse a new message, or to be seen typing one.

        Raises:
            DiscordError: 50001 or 50013 where the bot may not, 160002 for a reply to what it may
                not read, 50007 to a person who wants nothing from it.
        """
        if channel.recipient in self.blocked_by:
            raise DiscordError(Refusal.CANNOT_MESSAGE_USER)
        self.check_sees(channel)
        if channel.guild is None:
            return
        if May.SEND not in self.left(channel):
            raise DiscordError(Refusal.MISSING_PERMISSIONS)
        if as_reply and May.READ_HISTORY not in self.left(channel):
            raise DiscordError(Refusal.CANNOT_REPLY_WITHOUT_HISTORY)

    def reads_history(self, channel: Channel) -> bool:
        """Tell whether older messages are listed to the bot; Discord lists none otherwise."""
        return channel.guild is None or May.READ_HISTORY in self.left(channel)
