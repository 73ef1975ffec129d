"""Where a reply stands, as whoever shows it sees it: calls that may be repeated without harm.

Knows neither jobs' records nor text, nor what kind of place it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import discord

from bot.button import Button

NO_MENTIONS = discord.AllowedMentions.none()


@dataclass(frozen=True, slots=True)
class Posted:
    """A part that is there now."""

    message_id: int
    is_as_sent: bool
    """False when it looks otherwise: an earlier post of the same part was found, which says what it
    said then, or it bears the Stop button by which it is known."""


class Surface(Protocol):
    """Where the messages of one reply are shown; `part` counts from 0.

    Every method may be repeated without harm.

    Raises:
        GoneError: Somebody deleted the message or its channel.
        DeniedError: The bot may not.
        UnreachableError: It may work later.
    """

    channel_id: int

    async def typing(self) -> None:
        """Show the bot as typing."""

    async def post(self, part: int, content: str, button: Button | None) -> Posted:
        """Show a new part, perhaps with another button at first; one that is there is found."""

    async def edit(self, part: int, message_id: int, content: str, button: Button | None) -> None:
        """Show a part differently."""

    async def delete(self, part: int, message_id: int) -> None:
        """Take a part away."""

    async def refuse(self, sentence: str) -> None:
        """Answer with a sentence and nothing more."""

    async def find(self) -> Sequence[int]:
        """Look for the parts that are there already, whoever posted them."""


def discord_view(button: Button | None) -> discord.ui.View | None:
    """Make of a button what discord.py sends; None takes buttons away."""
    if button is None:
        return None
    view = discord.ui.View(timeout=None)
    view.add_item(discord.ui.Button(label=button.label, custom_id=button.custom_id))
    # The library need not remember it: a press is known by what the `custom_id` begins with.
    view.stop()
    return view
