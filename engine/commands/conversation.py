"""Owns what was said in a chat, and the prompt that follows from it. Knows no model."""

import re
from typing import Protocol

from engine.commands.prompts import Keep, Prompt


class Conversation(Protocol):
    """What was said so far; one of the two ways to go on from it."""

    @property
    def stop(self) -> tuple[str, ...]:
        """Return where a reply ends."""

    @property
    def keep(self) -> Keep | None:
        """Return what of a reply counts; None: all."""

    def ask(self, text: str) -> Prompt:
        """Take what a person wrote, and return the prompt that it makes."""

    def again(self) -> Prompt | None:
        """Return the last prompt once more, its answer forgotten; None if there is none."""

    def go_on(self) -> Prompt | None:
        """Return a prompt to write on from where the last answer ended; None if there is none."""

    def answered(self, reply: str) -> None:
        """Take what the model wrote to the last prompt."""

    def reset(self) -> None:
        """Forget everything."""


class Continuation:
    """Every prompt stands alone, and the model writes on from it, as in OpenAI's script."""

    stop: tuple[str, ...] = ()
    keep: Keep | None = None

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the text."""
        self._asked = self._text = ""

    def ask(self, text: str) -> Prompt:
        """Take what a person wrote: it is the prompt."""
        self._asked = self._text = text
        return Prompt("", (), text)

    def again(self) -> Prompt | None:
        """Return the last prompt once more."""
        self._text = self._asked
        return Prompt("", (), self._text) if self._text else None

    def go_on(self) -> Prompt | None:
        """Return prompt and answers, which lose their first words if they are too long."""
        if not self._text:
            return None
        self._asked = self._text
        *words, last = re.findall(r"\s*\S+|\s+$", self._text)
        return Prompt("", tuple(words), last, parts_are="words")

    def answered(self, reply: str) -> None:
        """Take the text that goes on behind the prompt."""
        self._text += reply


class Transcript:
    r"""A written-down talk, which the model goes on until the next speaker.

    >>> talk = Transcript("You", "Bot")
    >>> talk.ask("Hello!").text
    'You: Hello!\nBot:'

    Args:
        person: what a person is called.
        bot: what the model is called.
    """

    def __init__(self, person: str, bot: str) -> None:
        self.stop = (f"\n{person}:", f"\n{bot}:")
        self._person = person
        self._bot = bot
        self.reset()

    def reset(self) -> None:
        """Forget the talk."""
        self._turns: list[str] = []
        self._reply: str | None = None

    def ask(self, text: str) -> Prompt:
        """Take what a person said."""
        self._end_turn()
        self._turns.append(f"{self._person}: {text}\n")
        return self._prompt()

    def again(self) -> Prompt | None:
        """Return the talk up to the last thing that a person said."""
        self._reply = None
        return self._prompt() if self._turns else None

    def go_on(self) -> Prompt | None:
        """Return the talk up to the last reply, for the bot to say one thing more."""
        self._end_turn()
        return self._prompt() if self._turns else None

    def answered(self, reply: str) -> None:
        """Take a reply."""
        self._reply = reply.strip()

    def keep(self, written: str) -> tuple[str, bool]:
        """Return a reply without the blanks around it."""
        return written.strip(), False

    def _end_turn(self) -> None:
        if self._reply is not None:
            self._turns.append(f"{self._bot}: {self._reply}\n")
        self._reply = None

    def _prompt(self) -> Prompt:
        # The last turn stays: it is what has to be answered.
        *earlier, last = self._turns
        return Prompt("", tuple(earlier), f"{last}{self._bot}:", parts_are="turns")
