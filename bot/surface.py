"""Where a reply stands in Discord: the calls that post, edit and delete its messages.

Owns nothing but ids; knows neither jobs' records nor text. Every call may be repeated: posts carry
a nonce, so that a second one within minutes finds the first; edits are what they are; a part that
is gone already counts as deleted. One gap is left: a further part that has to be a follow-up (a
slash command where the bot may not write) has no nonce, and could double if its answer is lost.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import discord
from discord.http import handle_message_parameters
from discord.webhook.async_ import async_context
from typing_extensions import override

from bot.button import Button, stop_button
from bot.discord_errors import DeniedError, GoneError, discord_errors
from bot.origin import InteractionOrigin, MessageOrigin, Origin, nonce
from bot.stop_button import has_stop_button_of

_log = logging.getLogger(__name__)

NO_MENTIONS = discord.AllowedMentions.none()
REFUSAL = "r"
"""What stands for the part's number in the nonce of a refusal."""
SEARCHED_MESSAGES = 100
"""How far after the asking a reply is looked for whose message ids were not noted."""
CANNOT_REPLY_WITHOUT_HISTORY = 160002


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


class MessageSurface(Surface):
    """Messages in a channel, the first of which refers to the one that asked."""

    def __init__(self, client: discord.Client, origin: Origin, job_id: str) -> None:
        self.channel_id = origin.channel_id
        self._client = client
        self._origin = origin
        self._job_id = job_id
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
        view = _view(button)
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
                view=cast("discord.ui.View", _view(shown)),
                allowed_mentions=NO_MENTIONS,
                mention_author=False,
                suppress_embeds=True,
            )
        # Discord takes the blanks off both ends.
        wanted_ids = [button.custom_id] if button else []
        says_so = message.content.strip() == content.strip()
        return Posted(message.id, says_so and _custom_ids(message) == wanted_ids)


class InteractionSurface(Surface):
    """A slash command's answer: `@original`, then messages of its channel or follow-ups.

    The right to answer ends after 15 minutes. Where the bot may write, its answer is then an
    ordinary message of its own.
    """

    def __init__(self, client: discord.Client, origin: InteractionOrigin, job_id: str) -> None:
        self.channel_id = origin.channel_id
        self._origin = origin
        self._job_id = job_id
        self._further = MessageSurface(client, origin, job_id) if origin.may_post else None
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
        view = _view(button) or discord.utils.MISSING
        try:
            with discord_errors():
                message = await self._webhook.send(
                    content,
                    wait=True,
                    allowed_mentions=NO_MENTIONS,
                    suppress_embeds=True,
                    view=view,
                )
        except GoneError as error:
            self._in_its_place(error)
            raise
        return Posted(message.id, is_as_sent=True)

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
        if self._further is not None:
            return await self._further.find()
        try:
            with discord_errors():
                return [(await self._webhook.fetch_message(cast("int", "@original"))).id]
        except (DeniedError, GoneError):
            return []

    async def _edit(self, message_id: int, content: str, button: Button | None) -> int:
        """Edit by the interaction's token; 0 means `@original`, which Discord takes for an id.

        discord.py's own method can't suppress embeds here, so this is its body with that flag.
        """
        flags = discord.MessageFlags(suppress_embeds=True)
        with (
            discord_errors(),
            handle_message_parameters(
                content, view=_view(button), allowed_mentions=NO_MENTIONS, flags=flags
            ) as params,
        ):
            message = await async_context.get().edit_webhook_message(
                self._origin.application_id,
                self._origin.token,
                message_id or cast("int", "@original"),
                session=self._webhook.session,
                payload=params.payload,
            )
        return int(message["id"])


def surface_of(client: discord.Client, origin: Origin, job_id: str) -> Surface:
    """Say where a job's reply stands."""
    if isinstance(origin, MessageOrigin):
        return MessageSurface(client, origin, job_id)
    return InteractionSurface(client, origin, job_id)


def _view(button: Button | None) -> discord.ui.View | None:
    if button is None:
        return None
    view = discord.ui.View(timeout=None)
    view.add_item(discord.ui.Button(label=button.label, custom_id=button.custom_id))
    # The library need not remember it: a press is known by what the `custom_id` begins with.
    view.stop()
    return view


def _custom_ids(message: discord.Message) -> list[str | None]:
    rows = (row for row in message.components if isinstance(row, discord.ActionRow))
    return [
        child.custom_id
        for row in rows
        for child in row.children
        if isinstance(child, discord.Button)
    ]
