"""A reply as a slash command's answer, by the interaction's token; and which kind a reply is of.

Owns nothing but ids. One gap is left: a follow-up has no nonce, and where the bot may not read the
history either, one whose answer was lost is posted again.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import aiohttp
import discord
from discord.http import handle_message_parameters
from discord.webhook.async_ import async_context
from typing_extensions import override

from bot.button import Button
from bot.discord_errors import DeniedError, GoneError, UnreachableError, discord_errors
from bot.message_surface import MessageSurface
from bot.origin import InteractionOrigin, MessageOrigin, Origin
from bot.surface import NO_MENTIONS, Posted, Surface, discord_view


class InteractionSurface(Surface):
    """A slash command's answer: `@original`, then messages of its channel or follow-ups.

    The right to answer ends after 15 minutes. Where the bot may write, its answer is then an
    ordinary message of its own.
    """

    def __init__(self, client: discord.Client, origin: InteractionOrigin, job_id: str) -> None:
        self.channel_id = origin.channel_id
        self._origin = origin
        self._channel = MessageSurface(client, origin, job_id)
        self._further = self._channel if origin.may_post else None
        self._webhook = discord.Webhook.partial(origin.application_id, origin.token, client=client)

    @override
    async def typing(self) -> None:
        """Do nothing: Discord says "thinking" by itself."""

    @override
    async def post(self, part: int, content: str, button: Button | None) -> Posted:
        if part == 0:
            try:
                message_id = await self._edit(0, content, button)
            except GoneError as error:
                return await self._in_its_place(error).post(part, content, button)
            return Posted(message_id, is_as_sent=True)
        if self._further is not None:
            return await self._further.post(part, content, button)
        return await self._follow_up(content, button)

    async def _follow_up(self, content: str, button: Button | None) -> Posted:
        try:
            with discord_errors():
                message = await async_context.get().execute_webhook(
                    self._origin.application_id,
                    self._origin.token,
                    session=cast("aiohttp.ClientSession", _Once(self._webhook.session)),
                    payload=_body(content, button),
                    wait=True,
                    with_components=True,
                )
        except GoneError as error:
            self._in_its_place(error)
            raise
        # Asked to `wait`, the adapter gives the message, which its type leaves open.
        return Posted(int(cast("dict[str, Any]", message)["id"]), is_as_sent=True)

    def _in_its_place(self, error: GoneError) -> MessageSurface:
        """Give where the answer goes on once the interaction takes no more of it.

        Raises:
            GoneError: Somebody deleted the answer, or it was for one person's eyes.
            DeniedError: The bot may not write to the channel.
        """
        if not error.lacks_token or self._origin.is_private:
            raise error
        if self._further is None:
            msg = "the interaction's token is over, and the bot may not write to the channel"
            raise DeniedError(msg, 0, lacks_permission=True) from error
        return self._further

    @override
    async def edit(self, part: int, message_id: int, content: str, button: Button | None) -> None:
        if part > 0 and self._further is not None:
            await self._further.edit(part, message_id, content, button)
            return
        try:
            id_to_edit = message_id if part > 0 else 0
            await self._edit(id_to_edit, content, button)
        except GoneError as error:
            await self._in_its_place(error).edit(part, message_id, content, button)

    @override
    async def delete(self, part: int, message_id: int) -> None:
        if part > 0 and self._further is not None:
            await self._further.delete(part, message_id)
            return
        try:
            with discord_errors():
                await self._webhook.delete_message(message_id)
        except GoneError as error:
            if error.lacks_token and self._further is not None:
                await self._further.delete(part, message_id)

    @override
    async def refuse(self, sentence: str) -> None:
        try:
            await self._edit(0, sentence, None)
        except GoneError as error:
            await self._in_its_place(error).refuse(sentence)

    @override
    async def find(self) -> Sequence[int]:
        found = [] if self._origin.is_private else await self._channel.find()
        if found or self._further is not None:
            return found
        try:
            with discord_errors():
                return [(await self._webhook.fetch_message(cast("int", "@original"))).id]
        except (DeniedError, GoneError):
            return []

    async def _edit(self, message_id: int, content: str, button: Button | None) -> int:
        """Edit by the interaction's token; 0 means `@original`, which Discord takes for an id."""
        with discord_errors():
            message = await async_context.get().edit_webhook_message(
                self._origin.application_id,
                self._origin.token,
                message_id or cast("int", "@original"),
                session=self._webhook.session,
                payload=_body(content, button),
            )
        return int(message["id"])


class _Once:
    """A session in which a request whose answer was lost ends; discord.py would repeat it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @asynccontextmanager
    async def request(
        self, method: str, url: str, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        with discord_errors():
            async with self._session.request(method, url, **options) as response:
                if response.status >= 500:
                    msg = f"Discord answered {response.status}"
                    raise UnreachableError(msg)
                yield response


def _body(content: str, button: Button | None) -> dict[str, Any]:
    """Make what discord.py's own methods would send, but that links show no pictures."""
    flags = discord.MessageFlags(suppress_embeds=True)
    view = discord_view(button)
    with handle_message_parameters(
        content, view=view, allowed_mentions=NO_MENTIONS, flags=flags
    ) as params:
        return params.payload or {}


def surface_of(client: discord.Client, origin: Origin, job_id: str) -> Surface:
    """Say where a job's reply stands."""
    if isinstance(origin, MessageOrigin):
        return MessageSurface(client, origin, job_id)
    return InteractionSurface(client, origin, job_id)
