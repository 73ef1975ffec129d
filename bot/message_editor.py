"""Make the messages of one reply equal to a view. Owns what is shown; knows neither jobs nor text.

Messages are only ever added while a reply may grow. When it turns out shorter (an engine was lost
and the text starts afresh), those past the last part hold a filler and are deleted at the end: a
deleted message's nonce could not be used again.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bot.button import Button
from bot.discord_errors import UnreachableError
from bot.pace import Pace
from bot.reply_view import View
from bot.surface import Posted, Surface


@dataclass(frozen=True, slots=True)
class _Shown:
    content: str
    button: Button | None = None


class MessageEditor:
    """The messages of one reply."""

    def __init__(
        self,
        surface: Surface,
        pace: Pace,
        note: Callable[[Sequence[int]], Awaitable[None]],
        message_ids: Sequence[int] = (),
    ) -> None:
        self.num_edits = 0
        self._surface = surface
        self._pace = pace
        self._note = note
        self._noted = tuple(message_ids)
        self._message_ids = list(message_ids)
        self._shown: list[_Shown | None] = [None] * len(self._message_ids)
        self._newest_id = max(self._message_ids, default=0)
        self._may_have_posted = False

    @property
    def message_ids(self) -> tuple[int, ...]:
        """The messages there are, part by part."""
        return tuple(self._message_ids)

    def adopt(self, found: Sequence[int]) -> None:
        """Learn of messages that were posted elsewhere: those younger than all that were known."""
        for message_id in sorted(found):
            if message_id > self._newest_id:
                self._append(message_id, None)

    def distrust(self) -> None:
        """Take nothing for shown: somebody else may have edited the messages since."""
        self._shown = [None] * len(self._shown)

    async def show(self, view: View) -> None:
        """Edit, post and delete until the messages look like the view.

        What is shown already is not touched. After an error the rest is done by the next call.
        """
        await self._look_for_lost_post()
        await self._note_messages()
        wanted = [_Shown(content) for content in view.parts]
        wanted[-1] = _Shown(view.parts[-1], view.button)
        if not view.is_final:
            num_fillers = len(self._message_ids) - len(wanted)
            wanted += [_Shown(view.filler)] * num_fillers
        for part, shown in enumerate(wanted):
            await self._show_part(part, shown)
        while len(self._message_ids) > len(wanted):
            last = len(self._message_ids) - 1
            await self._surface.delete(last, self._message_ids[last])
            self._message_ids.pop()
            self._shown.pop()
        await self._note_messages()

    async def delete_all(self) -> None:
        """Take the whole reply away, the last part first."""
        await self._look_for_lost_post()
        for part in reversed(range(len(self._message_ids))):
            await self._surface.delete(part, self._message_ids[part])

    async def _show_part(self, part: int, shown: _Shown) -> None:
        if part == len(self._message_ids):
            posted = await self._post(part, shown)
            self._append(posted.message_id, shown if posted.is_as_sent else None)
            await self._note_messages()
        if self._shown[part] != shown:
            await self._pace.before_edit(self._surface.channel_id)
            await self._surface.edit(part, self._message_ids[part], shown.content, shown.button)
            self.num_edits += 1
            self._shown[part] = shown

    async def _post(self, part: int, shown: _Shown) -> Posted:
        try:
            return await self._surface.post(part, shown.content, shown.button)
        except UnreachableError:
            self._may_have_posted = True
            raise

    def _append(self, message_id: int, shown: _Shown | None) -> None:
        self._message_ids.append(message_id)
        self._shown.append(shown)
        self._newest_id = max(self._newest_id, message_id)

    async def _look_for_lost_post(self) -> None:
        # By the time that Discord can be reached again it may have forgotten the post's nonce.
        if self._may_have_posted:
            self.adopt(await self._surface.find())
            self._may_have_posted = False

    async def _note_messages(self) -> None:
        if self._noted != self.message_ids:
            await self._note(self.message_ids)
            self._noted = self.message_ids
