"""A reply as messages of a channel: posted with a nonce, and found again in the history.

Owns nothing but ids. A second post within minutes finds the first by its nonce; edits are what they
are; a part that is gone already counts as deleted.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import cast

import discord
from typing_extensions import override

from bot.button import Button, stop_button
from bot.discord_errors import DeniedError, GoneError, discord_errors
from bot.origin import Origin, nonce
from bot.stop_button import has_stop_button_of
from bot.surface import NO_MENTIONS, Posted, Surface, discord_view

_log = logging.getLogger(__name__)

REFUSAL = "r"
"""What stands for the part's number in the nonce of a refusal."""
SEARCHED_MESSAGES = 100
"""How far after the asking a reply is looked for whose message ids were not noted."""
CANNOT_REPLY_WITHOUT_HISTORY = 160002


class MessageSurface(Surface):
    """Messages in a channel, the first of which refers to the one that asked."""

    def __init__(self, client: discord.Client, origin: Origin, job_id: str) -> None:
        self.channel_id = origin.channel_id
        self._client = client
        self._origin = origin
        self._job_id = job_id
        self._may_have_refused = False
        self._channel = client.get_partial_messageable(origin.channel_id)
        self._asked_id = origin.message_id if origin.kind == "message" else origin.interaction_id

    @override
    async def typing(self) -> None:
        # discord.py never lifts the limit on all requests if the one that it met is cancelled.
        await asyncio.shield(self._type())

    async def _type(self) -> None:
        with discord_errors():
            await self._channel.typing()

    @override
    async def post(self, part: int, content: str, button: Button | None) -> Posted:
        return await self._post(part, content, button)

    @override
    async def edit(self, part: int, message_id: int, content: str, button: Button | None) -> None:
        view = discord_view(button)
        with discord_errors():
            message = self._channel.get_partial_message(message_id)
            await message.edit(content=content, allowed_mentions=NO_MENTIONS, view=view)

    @override
    async def delete(self, part: int, message_id: int) -> None:
        try:
            with discord_errors():
                await self._channel.get_partial_message(message_id).delete()
        except GoneError:
            return

    @override
    async def refuse(self, sentence: str) -> None:
        # Discord may have forgotten the nonce of a refusal whose answer was lost.
        if self._may_have_refused and self._origin.kind == "message" and await self.find():
            return
        self._may_have_refused = True
        await self._post(REFUSAL, sentence, None)

    @override
    async def find(self) -> Sequence[int]:
        after = discord.Object(self._asked_id)
        history = self._channel.history(limit=SEARCHED_MESSAGES, after=after, oldest_first=True)
        try:
            with discord_errors():
                return [message.id async for message in history if self._is_part(message)]
        except (DeniedError, GoneError) as error:
            _log.info("job=%s: its messages could not be looked for: %s", self._job_id, error)
            return []

    def _is_part(self, message: discord.Message) -> bool:
        if self._client.user is None or message.author.id != self._client.user.id:
            return False
        reference, asking = message.reference, message.interaction_metadata
        return (
            (reference is not None and reference.message_id == self._asked_id)
            or (asking is not None and asking.id == self._asked_id)
            or str(message.nonce or "").startswith(nonce(self._job_id, ""))
            or has_stop_button_of(message, self._job_id)
        )

    async def _post(self, part: int | str, content: str, button: Button | None) -> Posted:
        refers = self._origin.kind == "message" and part in {0, REFUSAL}
        try:
            return await self._send(part, content, button, refers=refers)
        except DeniedError as error:
            if error.code != CANNOT_REPLY_WITHOUT_HISTORY:
                raise
            return await self._send(part, content, button, refers=False)

    async def _send(
        self, part: int | str, content: str, button: Button | None, *, refers: bool
    ) -> Posted:
        asked = discord.MessageReference(
            message_id=self._asked_id, channel_id=self.channel_id, fail_if_not_exists=False
        )
        shown = button
        if not refers and part != REFUSAL:
            # Discord forgets a nonce within minutes; this is how `find` knows the message then.
            shown = stop_button(self._job_id, self._origin.asker_id)
        with discord_errors():
            message = await self._channel.send(
                content,
                nonce=nonce(self._job_id, part),
                # The library's overloads leave out that both may be None.
                reference=cast("discord.MessageReference", asked if refers else None),
                view=cast("discord.ui.View", discord_view(shown)),
                allowed_mentions=NO_MENTIONS,
                mention_author=False,
                suppress_embeds=True,
            )
        # Discord takes the blanks off both ends.
        wanted_ids = [button.custom_id] if button else []
        says_so = message.content.strip() == content.strip()
        return Posted(message.id, says_so and _custom_ids(message) == wanted_ids)


def _custom_ids(message: discord.Message) -> list[str | None]:
    rows = (row for row in message.components if isinstance(row, discord.ActionRow))
    return [
        child.custom_id
        for row in rows
        for child in row.children
        if isinstance(child, discord.Button)
    ]
