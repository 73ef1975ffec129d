"""The terminal without a keyboard: one reply is printed as it grows, plainly, line by line.

Nothing is redrawn, so the output reads well in a file. Knows the people's side of the sandbox only.
"""

import sys
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TextIO

from sandbox.model import Message
from sandbox.people import People
from sandbox.replies import (
    Asked,
    fault_of,
    follow,
    growth,
    parts_of,
    shown,
    without_mark,
)


class ReplyError(RuntimeError):
    """No labelled reply arrived; the message is a sentence for a person."""


@dataclass(slots=True)
class Printer:
    """Prints to one stream at once, and says how much time has passed since it was made."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    began_s: float = field(default_factory=time.monotonic)

    def write(self, text: str) -> None:
        """Print a piece of text."""
        self.out.write(text)
        self.out.flush()

    def note(self, text: str) -> None:
        """Print a line with the time since the beginning."""
        self.write(f"[{time.monotonic() - self.began_s:5.1f} s] {text}\n")


async def once(people: People, text: str, printer: Printer, within_s: float) -> None:
    """Let Alice say one thing to the bot and print its reply as it is written.

    Raises:
        ReplyError: when no finished, labelled reply with text arrives within `within_s`.
    """
    began_s = time.monotonic()
    printer.note(
        f"{people.alice.name} says in #{people.general.name}: @{people.bot_user.name} {text}"
    )
    asked = await people.say(
        people.alice, people.general, f"{people.bot_user.mention} {text}".strip()
    )
    parts = await _print_reply(people, asked, printer, within_s)
    fault = fault_of(parts)
    if fault is not None:
        raise ReplyError(fault)
    revisions = [revision for part in parts for revision in part.revisions]
    first_s, last_s = revisions[0].at_s - began_s, revisions[-1].at_s - began_s
    printer.note(
        f"the reply is done: first shown after {first_s:.1f} s, finished after {last_s:.1f} s, "
        f"{len(revisions) - len(parts)} edits"
    )


async def _print_reply(
    people: People, asked: Asked, printer: Printer, within_s: float
) -> list[Message]:
    before = ""
    try:
        async with aclosing(follow(people, asked, within_s)) as changes:
            async for parts in changes:
                if not before:
                    printer.note(f"{people.bot_user.name} replies{_buttons(parts)}:")
                now = as_text(parts)
                printer.write(growth(before, now))
                before = now
    except TimeoutError:
        raise ReplyError(_too_late(parts_of(people, asked))) from None
    finally:
        if before:
            printer.write("\n")
    return parts_of(people, asked)


def as_text(parts: list[Message]) -> str:
    """Join the parts of a reply, as they read now."""
    return "\n\n".join(shown(without_mark(part.content)) for part in parts)


def _buttons(parts: list[Message]) -> str:
    labels = [f"[{button.label}]" for part in parts for button in part.buttons]
    return f", with {' '.join(labels)}" if labels else ""


def _too_late(parts: list[Message]) -> str:
    if not parts:
        return "The bot did not reply in time."
    return f"The bot's reply was not finished in time; it says: {as_text(parts)!r}"
