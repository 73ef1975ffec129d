"""The commands at Discord: registered with patience, run once each. Knows none of them.

Discord may tell of the same interaction again after a lost connection; it can be answered once.
"""

import asyncio
import logging
import traceback
from collections.abc import Callable
from typing import Any

import discord
from discord import app_commands
from typing_extensions import override

from bot import replies
from bot.discord_errors import (
    DeniedError,
    GoneError,
    UnreachableError,
    discord_errors,
    failure_logged,
)
from bot.recent import Recent

_log = logging.getLogger(__name__)

SYNC_RETRY_S = 5.0

Interaction = discord.Interaction[Any]


class CommandTree(app_commands.CommandTree[Any]):
    """The bot's commands.

    Args:
        client: Whose commands.
        begins: Called in the task of each interaction before it is answered.
    """

    def __init__(self, client: discord.Client, begins: Callable[[], None]) -> None:
        super().__init__(client)
        self._begins = begins
        self._seen = Recent()

    async def register(self) -> None:
        """Tell Discord of the commands, however often it takes."""
        while True:
            try:
                with discord_errors():
                    await self.sync()
            except UnreachableError as error:
                _log.warning("commands could not be registered, trying again: %s", error)
                await asyncio.sleep(SYNC_RETRY_S)
            except (DeniedError, GoneError) as error:
                _log.error("commands could not be registered: %s", error)
                return
            else:
                return

    @override
    async def interaction_check(self, interaction: Interaction, /) -> bool:
        """Let each interaction pass once."""
        self._begins()
        return self._seen.add(interaction.id)

    @override
    async def _call(self, interaction: Interaction) -> None:
        # What the library cannot read (a command of another version, say) ends in errors of all
        # kinds, and by itself it tells people only of those of one kind.
        try:
            await super()._call(interaction)
        except app_commands.AppCommandError:
            raise
        except Exception as error:  # noqa: BLE001  # the person must hear of it too
            unreadable = app_commands.AppCommandError()
            unreadable.__cause__ = error
            await self.on_error(interaction, unreadable)

    @override
    async def on_error(
        self, interaction: Interaction, error: app_commands.AppCommandError, /
    ) -> None:
        """Tell the person of a fault that nobody foresaw."""
        is_ours = isinstance(error, app_commands.CommandInvokeError)
        cause = error.__cause__ or error
        _log.log(
            logging.ERROR if is_ours else logging.WARNING,
            "interaction %d: the command failed with %s:\n%s",
            interaction.id,
            type(cause).__name__,
            # Without its text, which may quote what a person wrote.
            "".join(traceback.format_tb(cause.__traceback__)),
        )
        if interaction.type is discord.InteractionType.autocomplete:
            return
        with failure_logged(_log, "interaction %d: it could not be told: %s", interaction.id):
            if interaction.response.is_done():
                await interaction.edit_original_response(content=replies.FAILED_HERE)
            else:
                await interaction.response.send_message(replies.FAILED_HERE, ephemeral=True)
