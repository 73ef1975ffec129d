"""The terminal with a keyboard: replies grow in place above the line that a person types.

Knows the people's side of the sandbox only; what a line means is read in `typed.py`.
"""

import asyncio
import mimetypes
import shutil
from collections.abc import Coroutine, Iterable
from contextlib import aclosing
from pathlib import Path
from textwrap import wrap

from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.patch_stdout import patch_stdout

from sandbox.model import Channel, Message
from sandbox.people import People
from sandbox.replies import (
    RUNNING_MARK,
    STOP,
    Asked,
    follow,
    is_done,
    parts_of,
    shown,
    without_mark,
)
from sandbox.rules import Upload
from sandbox.slash import PersonError
from sandbox.typed import (
    HELP,
    Direct,
    Help,
    LocalFile,
    Mention,
    Menu,
    Nothing,
    Quit,
    Slash,
    Stop,
    Typed,
    completions,
    read,
)

REPLY_WITHIN_S = 600.0
SMALL, BUTTON, NAME, WRONG = "fg:ansibrightblack", "reverse", "bold", "fg:ansired"
PROMPT = "> "
ROWS_KEPT = 4
"""Terminal rows that growing replies leave to what was said before and to the typed line."""

Line = list[tuple[str, str]]


class LeaveError(Exception):
    """Ctrl-C was pressed while a line was typed."""


class Commands(Completer):
    """Completes the bot's commands and their options."""

    def __init__(self, people: People, channel: Channel) -> None:
        self._people = people
        self._channel = channel

    def get_completions(self, document: Document, _: CompleteEvent) -> Iterable[Completion]:
        """List what the word before the cursor could become."""
        line = document.text_before_cursor
        typed = 0 if line.endswith(" ") else len(line.split()[-1]) if line.split() else 0
        for text, about in completions(line, self._people.commands_in(self._channel)):
            yield Completion(text, start_position=-typed, display_meta=about)


class Chat:
    """One person at a keyboard: Alice."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._running: list[Asked] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: PromptSession[str] = PromptSession(
            completer=Commands(people, people.general), complete_while_typing=True
        )

    async def run(self, first: str) -> None:
        """Say `first`, then do what is typed until `/quit` or the end of input.

        Raises:
            LeaveError: on Ctrl-C.
        """
        with patch_stdout(raw=True):
            await self._do(Mention(first))
            try:
                while not isinstance(typed := await self._read(), Quit):
                    await self._try(self._do(typed))
            except EOFError:
                pass
            except KeyboardInterrupt:
                # As itself it would tear the event loop down before anything is stopped.
                raise LeaveError from None
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self) -> Typed:
        line = await self._session.prompt_async(self._above)
        try:
            return read(line, self._people.commands_in(self._people.general))
        except PersonError as error:
            self._print([(WRONG, str(error))])
            return Nothing()

    async def _try(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except PersonError as error:
            self._print([(WRONG, str(error))])

    async def _do(self, typed: Typed) -> None:
        people, alice = self._people, self._people.alice
        match typed:
            case Mention(text):
                said = f"{people.bot_user.mention} {text}".strip()
                self._follow(await people.say(alice, people.general, said))
            case Direct(text):
                self._follow(await people.say(alice, people.dm(alice), text))
            case Slash(name, options):
                given = {option: _opened(value) for option, value in options.items()}
                self._follow(await people.slash(alice, people.general, name, given))
            case Menu(name):
                self._follow(await people.message_command(alice, self._last_message(), name))
            case Stop():
                await self._stop()
            case Help():
                self._print([("", HELP)])
            case Nothing() | Quit():
                pass

    def _last_message(self) -> Message:
        messages = self._people.messages(self._people.general)
        return [each for each in messages if each.visible_to is None][-1]

    async def _stop(self) -> None:
        for asked in reversed(self._running):
            for part in parts_of(self._people, asked):
                button = part.button(STOP)
                if button is not None:
                    await self._people.press(self._people.alice, part, button.custom_id)
                    return
        msg = "no reply is running"
        raise PersonError(msg)

    def _follow(self, asked: Asked) -> None:
        if isinstance(asked, Message):
            where = f"#{asked.channel.name}" if asked.channel.guild else "in private"
            said = asked.content.replace(
                self._people.bot_user.mention, f"@{self._people.bot_user.name}"
            )
            self._print([(NAME, f"{asked.author.name} {where}: "), ("", shown(said))])
        self._running.append(asked)
        task = asyncio.create_task(self._show(asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _show(self, asked: Asked) -> None:
        """Redraw while a reply grows; print it for good when it is done."""
        try:
            async with aclosing(follow(self._people, asked, REPLY_WITHIN_S)) as changes:
                async for _ in changes:
                    self._session.app.invalidate()
        except TimeoutError:
            self._print([(WRONG, f"no finished reply within {REPLY_WITHIN_S:.0f} s")])
        finally:
            self._running.remove(asked)
        lines = self._lines(parts_of(self._people, asked))
        self._print([fragment for line in lines for fragment in [*line, ("", "\n")]][:-1])

    def _above(self) -> FormattedText:
        """Draw the replies that run, as much of their ends as fits, and the prompt."""
        columns, rows = shutil.get_terminal_size()
        lines: list[Line] = []
        for asked in self._running:
            for line in self._lines(parts_of(self._people, asked)):
                lines += _wrapped(line, columns)
        lines = lines[-max(1, rows - ROWS_KEPT) :]
        drawn = [fragment for line in lines for fragment in [*line, ("", "\n")]]
        return FormattedText([*drawn, ("", PROMPT)])

    def _lines(self, parts: list[Message]) -> list[Line]:
        lines: list[Line] = []
        for part in parts:
            private = " (only you see this)" if part.visible_to else ""
            lines.append([(NAME, f"{part.author.name}{private}:")])
            text = shown(
                part.content if is_done([part]) else f"{without_mark(part.content)} {RUNNING_MARK}"
            )
            for line in text.split("\n"):
                small = line.startswith("-# ")
                lines.append([(SMALL if small else "", line.removeprefix("-# "))])
            if part.buttons:
                lines.append([(BUTTON, f"[{button.label}]") for button in part.buttons])
        return lines

    def _print(self, line: Line) -> None:
        print_formatted_text(FormattedText(line))


def _opened(value: object) -> object:
    """Read the file that an option names; any other value stays as it is."""
    if not isinstance(value, LocalFile):
        return value
    try:
        path = Path(value.path).expanduser()
        data = path.read_bytes()
    except (OSError, RuntimeError) as error:
        # The home of a user who does not exist has no reason of the system's.
        reason = getattr(error, "strerror", None) or error
        msg = f"{value.path} cannot be read: {reason}"
        raise PersonError(msg) from None
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Upload(path.name, kind, data)


def _wrapped(line: Line, columns: int) -> list[Line]:
    """Cut a line to the width of the terminal, so that rows can be counted."""
    if len(line) != 1 or len(line[0][1]) < columns:
        return [line]
    style, text = line[0]
    return [[(style, piece)] for piece in wrap(text, columns - 1, drop_whitespace=False)]
