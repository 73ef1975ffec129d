"""The Stop button under a reply that is being written. Knows no jobs but by their id.

Its `custom_id` carries the job and who asked, so it works after a restart and without Redis.
"""

import logging
import re
from collections.abc import Awaitable
from enum import Enum
from typing import Any, Protocol, Self, cast

import discord

from bot import replies
from bot.button import stop_button
from bot.discord_errors import failure_logged

_log = logging.getLogger(__name__)

TEMPLATE = r"stop:(?P<job>[A-Za-z0-9_.\-]{1,64}):(?P<asker>[0-9]{1,20})"

Interaction = discord.Interaction[Any]


class StopResult(Enum):
    """What became of a wish to stop."""

    STOPPING = "stopping"
    OVER = "over"
    """The reply ended already, or nobody knows it any more."""
    UNREACHABLE = "unreachable"
    """The queue could not be asked."""


class StopsReplies(Protocol):
    """A client that can stop a reply by its job's id."""

    async def stop_reply(self, job_id: str) -> StopResult:
        """Ask the queue to stop a job."""
        ...


class StopButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=TEMPLATE,
):
    """A button that stops one reply, for who asked for it and who manages messages."""

    def __init__(self, job_id: str, asker_id: int) -> None:
        self._job_id = job_id
        self._asker_id = asker_id
        button = stop_button(job_id, asker_id)
        super().__init__(discord.ui.Button(label=button.label, custom_id=button.custom_id))

    @classmethod
    async def from_custom_id(
        cls,
        _interaction: Interaction,
        _item: discord.ui.Item[Any],
        match: re.Match[str],
        /,
    ) -> Self:
        """Make the button again from what was pressed."""
        return cls(match["job"], int(match["asker"]))

    async def callback(self, interaction: Interaction) -> None:
        """Stop the reply. Discord is answered first, since it waits three seconds only."""
        may_stop = interaction.user.id == self._asker_id or interaction.permissions.manage_messages
        if not may_stop:
            said = interaction.response.send_message(replies.NOT_YOURS, ephemeral=True)
            await self._try_to(said)
            return
        await self._try_to(interaction.response.defer())
        result = await cast("StopsReplies", interaction.client).stop_reply(self._job_id)
        if result is StopResult.OVER:
            await self._try_to(interaction.edit_original_response(view=None))
        elif result is StopResult.UNREACHABLE:
            await self._try_to(interaction.followup.send(replies.REDIS_AWAY, ephemeral=True))

    async def _try_to(self, answer: Awaitable[object]) -> None:
        """Answer the press, or log that it could not be: stopping does not depend on it."""
        said = "job=%s: the press of Stop could not be answered: %s"
        with failure_logged(_log, said, self._job_id):
            await answer


def has_stop_button_of(message: discord.Message, job_id: str) -> bool:
    """Say whether a message carries the Stop button of a job."""
    return any(
        (child.custom_id or "").startswith(f"stop:{job_id}:")
        for row in message.components
        if isinstance(row, discord.ActionRow)
        for child in row.children
        if isinstance(child, discord.Button)
    )
