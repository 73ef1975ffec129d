"""The Details button under a finished reply: tells how it was made. Knows neither queue nor engine.

Everything is in its `custom_id`, so it works as long as the message stands.
"""

import logging
import re
from typing import Any, Self

import discord

from bot.details_id import PREFIX, UnreadableError, unpack_details
from bot.details_words import DETAILS_BUTTON, UNREADABLE, details_words
from bot.discord_errors import failure_logged

_log = logging.getLogger(__name__)


class DetailsButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=rf"(?s:{PREFIX}.*)",
):
    """A button that tells anybody, in private, how a text was made."""

    def __init__(self, custom_id: str) -> None:
        super().__init__(discord.ui.Button(label=DETAILS_BUTTON, custom_id=custom_id))

    @classmethod
    async def from_custom_id(
        cls,
        _interaction: discord.Interaction[Any],
        _item: discord.ui.Item[Any],
        match: re.Match[str],
        /,
    ) -> Self:
        """Make the button again from what was pressed."""
        return cls(match[0])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Answer whoever pressed it, seen by nobody else."""
        try:
            said = details_words(unpack_details(self.custom_id))
        except UnreadableError as error:
            _log.warning("message %s: %s", interaction.message and interaction.message.id, error)
            said = UNREADABLE
        with failure_logged(_log, "a press of Details could not be answered: %s"):
            await interaction.response.send_message(said, ephemeral=True)
