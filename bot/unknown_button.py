"""A button that this version of the bot does not know: it says so, and nothing happens.

Messages stand longer than versions: an older one, or a newer one before it was taken back, may have
made it. Without an answer Discord would tell people that the interaction failed.
"""

import logging
import re
from typing import Any, Self, cast

import discord

from bot.details_id import PREFIX
from bot.details_words import UNREADABLE
from bot.discord_errors import failure_logged
from bot.stop_button import TEMPLATE

_log = logging.getLogger(__name__)


class UnknownButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=rf"(?s:(?!{TEMPLATE}\Z|{PREFIX}).+)",
):
    """Any button that no other class is for."""

    @classmethod
    async def from_custom_id(
        cls,
        _interaction: discord.Interaction[Any],
        item: discord.ui.Item[Any],
        _match: re.Match[str],
        /,
    ) -> Self:
        """Take the button as it stands in the message."""
        return cls(cast("discord.ui.Button[discord.ui.View]", item))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Tell whoever pressed it."""
        with failure_logged(_log, "a press of an unknown button could not be answered: %s"):
            await interaction.response.send_message(UNREADABLE, ephemeral=True)
