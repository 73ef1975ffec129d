"""The editor against a surface kept in a dictionary, which fails when told to."""

from collections.abc import Sequence

import pytest

from bot.button import Button
from bot.discord_errors import UnreachableError
from bot.message_editor import MessageEditor
from bot.pace import Pace
from bot.reply_view import View
from bot.surface import Posted, Surface
from tests.bot.support import FakeClock

STOP, DETAILS = Button("Stop", "stop:1"), Button("Details", "details:1")


class ShelfSurface(Surface):
    """Messages on a shelf. `lost_answers` does what is asked and then fails, once each.

    Without `shows_history` a post is found by its nonce alone.
    """

    def __init__(self) -> None:
        self.channel_id = 1
        self.shelf: dict[int, tuple[str, Button | None]] = {}
        self.by_part: dict[int, int] = {}
        self.lost_answers = 0
        self.shows_history = True
        self.calls: list[str] = []

    async def typing(self) -> None:
        self.calls.append("typing")

    async def post(self, part: int, content: str, button: Button | None) -> Posted:
        self.calls.append(f"post {part}")
        message_id = self.by_part.setdefault(part, 100 + part)
        self.shelf.setdefault(message_id, (content, button))
        self._answer()
        return Posted(message_id, self.shelf[message_id] == (content, button))

    async def edit(self, part: int, message_id: int, content: str, button: Button | None) -> None:
        self.calls.append(f"edit {part}")
        self.shelf[message_id] = (content, button)
        self._answer()

    async def delete(self, part: int, message_id: int) -> None:
        self.calls.append(f"delete {part}")
        self.shelf.pop(message_id, None)
        self._answer()

    async def refuse(self, sentence: str) -> None:
        self.calls.append(f"refuse {sentence}")

    async def find(self) -> Sequence[int]:
        return sorted(self.shelf) if self.shows_history else []

    def _answer(self) -> None:
        if self.lost_answers:
            self.lost_answers -= 1
            raise UnreachableError


class Case:
    def __init__(self, message_ids: Sequence[int] = ()) -> None:
        clock = FakeClock()
        self.surface = ShelfSurface()
        self.noted: list[tuple[int, ...]] = []
        pace = Pace(now_s=clock.now_s, sleep=clock.sleep)
        self.editor = MessageEditor(self.surface, pace, self.note, message_ids)

    async def note(self, message_ids: Sequence[int]) -> None:
        self.noted.append(tuple(message_ids))

    async def show(self, *parts: str, is_final: bool = False) -> None:
        view = View(
            parts,
            filler="filler",
            button=DETAILS if is_final else STOP,
            is_final=is_final,
            has_news=True,
        )
        await self.editor.show(view)

    def shown(self) -> list[tuple[str, Button | None]]:
        return [self.surface.shelf[each] for each in sorted(self.surface.shelf)]


async def test_each_part_is_noted_as_soon_as_it_is_there():
    case = Case()
    await case.show("a", "b")
    assert case.noted == [(100,), (100, 101)]
    assert case.shown() == [("a", None), ("b", STOP)]


async def test_only_what_differs_is_touched():
    case = Case()
    await case.show("a")
    await case.show("a")
    await case.show("a", "b")
    await case.show("a", "bc")
    assert case.surface.calls == ["post 0", "edit 0", "post 1", "edit 1"]


async def test_a_shorter_reply_keeps_fillers_until_its_end_and_then_loses_them():
    case = Case()
    await case.show("a", "b", "c")
    await case.show("x")
    assert case.shown() == [("x", STOP), ("filler", None), ("filler", None)]
    await case.show("x", "y")
    assert case.shown() == [("x", None), ("y", STOP), ("filler", None)]
    await case.show("x", "y", is_final=True)
    assert case.shown() == [("x", None), ("y", DETAILS)]
    assert case.noted[-1] == (100, 101)


@pytest.mark.parametrize("num_lost", [1, 2, 3, 4, 5])
async def test_however_many_answers_are_lost_the_messages_end_as_wanted(num_lost):
    case = Case()
    await case.show("a", "b", "c")
    case.surface.lost_answers = num_lost
    for _ in range(num_lost):
        with pytest.raises(UnreachableError):
            await case.show("A", "B", is_final=True)
        if not case.surface.lost_answers:
            break
    await case.show("A", "B", is_final=True)
    assert case.shown() == [("A", None), ("B", DETAILS)]


async def test_a_post_that_finds_an_earlier_one_is_brought_up_to_date():
    case = Case()
    case.surface.shows_history = False
    case.surface.lost_answers = 1
    with pytest.raises(UnreachableError):
        await case.show("a")
    await case.show("a longer")
    assert case.surface.calls == ["post 0", "post 0", "edit 0"]
    assert case.shown() == [("a longer", STOP)]


async def test_a_post_whose_answer_was_lost_is_looked_for_before_it_is_made_again():
    case = Case()
    case.surface.lost_answers = 1
    with pytest.raises(UnreachableError):
        await case.show("a")
    await case.show("a longer")
    assert case.surface.calls == ["post 0", "edit 0"]
    assert case.noted == [(100,)]
    assert case.shown() == [("a longer", STOP)]


async def test_a_post_whose_answer_was_lost_is_taken_away_with_the_rest():
    case = Case()
    await case.show("a")
    case.surface.lost_answers = 1
    with pytest.raises(UnreachableError):
        await case.show("a", "b")
    case.surface.lost_answers = 0
    await case.editor.delete_all()
    assert case.shown() == []


async def test_messages_noted_earlier_are_edited_and_unnoted_ones_adopted():
    case = Case(message_ids=[100])
    case.surface.shelf = {100: ("a", None), 101: ("b", STOP)}
    case.editor.adopt(await case.surface.find())
    await case.show("a", "bc")
    assert case.noted == [(100, 101)]
    assert case.surface.calls == ["edit 0", "edit 1"]
    assert case.shown() == [("a", None), ("bc", STOP)]
