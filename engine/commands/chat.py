"""Owns the `chat` command: prompts in, samples out, until the person ends it."""

import difflib
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from engine.commands.conversation import Continuation, Conversation, Transcript
from engine.commands.output import Output, PlainText
from engine.commands.prompts import Prompt, fit
from engine.commands.sampling import Decoding, SamplingCommand, Writer
from engine.commands.terminal import history_path, interrupts, open_history, piped, say, typed
from engine.errors import EngineError
from wire.jobs import MAX_STOP_STRINGS, explain

Mode = Literal["continue", "chat"]
Speaker = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[^\n:]+$")]

SETTINGS = [name for name in Decoding.model_fields if name != "stop"]


class Chat(SamplingCommand):
    """Write on from what is typed, prompt after prompt."""

    mode: Mode = "continue"
    """continue: every prompt stands alone and is written on from; chat: a talk, turn by turn."""
    person_name: Speaker = "You"
    """What you are called in a talk."""
    bot_name: Speaker = "Bot"
    """What the model is called in a talk."""
    history: bool = True
    """Keep what is typed for the next time, in ~/.local/state/ovid/chat_history."""

    @model_validator(mode="after")
    def _leaves_room_for_the_speakers(self) -> Self:
        most = MAX_STOP_STRINGS - 2
        if self.mode == "chat" and len(self.stop) > most:
            msg = f"stop may be given at most {most} times in a talk, which ends at two speakers"
            raise ValueError(msg)
        return self

    def run(self) -> None:
        """Answer prompts until there are no more.

        Raises:
            EngineError: the model cannot be run.
            VocabularyError: its vocabulary is damaged.
        """
        writer = Writer.load(self)
        talk = Transcript(self.person_name, self.bot_name) if self.mode == "chat" else None
        at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        chat = OneChat(writer, self, talk or Continuation())
        for text in self._typed(writer) if at_terminal else piped():
            try:
                if not chat.take(text):
                    return
            except KeyboardInterrupt:
                # Only a person who can go on is spared the end.
                if not at_terminal:
                    raise
                say("(stopped)")

    def _typed(self, writer: Writer) -> Iterator[str]:
        path = history_path() if self.history else None
        try:
            history = open_history(path)
        except OSError as error:
            path, history = None, open_history(None)
            say(f"What you type is not kept: {error}.")
        does = "talks with you" if self.mode == "chat" else "writes on from what you type"
        say(f"GPT-2 {writer.model_name} {does}. Enter sends, Alt-Enter begins a new line,")
        say("Ctrl-C stops a sample, Ctrl-D ends; /help lists the commands.")
        if path is not None:
            say(f"What you type is kept in {path}; --no-history turns that off.")
        return typed(history)


class OneChat:
    """One person's chat: a conversation, and the settings that commands change."""

    def __init__(self, writer: Writer, settings: Chat, conversation: Conversation) -> None:
        self._writer = writer
        self._settings = settings
        self._conversation = conversation
        self._decoding = Decoding(
            **{name: getattr(settings, name) for name in Decoding.model_fields}
        )
        self._commands: dict[str, tuple[Callable[[], None], str]] = {
            "again": (self._again, "another answer to the last prompt, from another seed"),
            "continue": (self._go_on, "write on from where the last answer ended"),
            "reset": (self._reset, "forget what was said"),
            "settings": (self._show_settings, "show how samples are drawn"),
            "help": (self._help, "show this"),
        }

    def take(self, text: str) -> bool:
        """Answer a prompt or obey a command; return False if that was the end."""
        if text.startswith("//"):
            self._answer(self._conversation.ask(text[1:]))
        elif not text.startswith("/"):
            self._answer(self._conversation.ask(text))
        else:
            name, _, value = text[1:].strip().partition(" ")
            return self._obey(name.lower(), value.strip())
        return True

    def _obey(self, name: str, value: str) -> bool:
        field = name.replace("-", "_")
        if name in ("quit", "exit"):
            return False
        if name in self._commands:
            self._commands[name][0]()
        elif field in SETTINGS:
            self._set(field, value)
        else:
            known = [*self._commands, *SETTINGS, "quit"]
            near = difflib.get_close_matches(name, known, n=1)
            guess = f"did you mean /{near[0]}?" if near else "/help lists them."
            say(f"There is no command /{name}; {guess} A prompt that begins with / is typed //.")
        return True

    def _set(self, field: str, value: str) -> None:
        if value:
            default = Decoding.model_fields[field].default
            fields = self._decoding.model_dump() | {field: default if value == "off" else value}
            try:
                self._decoding = Decoding.model_validate(fields)
            except ValidationError as error:
                say(explain(error))
                return
        say(f"{field}: {self._shown(field)}")

    def _shown(self, field: str) -> str:
        value = getattr(self._decoding, field)
        if value is not None:
            return str(value)
        return "a new one each time" if field == "seed" else "half of the context"

    def _answer(self, prompt: Prompt | None, *, afresh: bool = False) -> None:
        if prompt is None:
            say("There is nothing yet to go on from.")
            return
        stop = (*self._conversation.stop, *self._decoding.stop)
        decoding = self._decoding.model_copy(update={"stop": stop})
        if afresh:
            decoding = decoding.model_copy(update={"seed": None})
        try:
            text, note = fit(prompt, self._writer.num_tokens, self._writer.room(decoding.length))
            if note:
                say(f"({note})")
            self._write(text, decoding)
        except (EngineError, ValueError) as error:
            say(str(error))

    def _write(self, prompt: str, decoding: Decoding) -> None:
        pieces = self._writer.write(
            prompt, decoding, nsamples=self._settings.nsamples, keep=self._conversation.keep
        )
        form = PlainText(self._writer.label, with_prompt=False)
        sample = None
        with interrupts() as pressed, Output(None, form) as output, closing(pieces):
            for sample, new in pieces:
                output.add(sample, new)
                if pressed.is_set():
                    break
        if sample is None:
            return
        self._conversation.answered(sample.text)
        print(flush=True)
        if pressed.is_set():
            raise KeyboardInterrupt

    def _again(self) -> None:
        self._answer(self._conversation.again(), afresh=True)

    def _go_on(self) -> None:
        self._answer(self._conversation.go_on())

    def _reset(self) -> None:
        self._conversation.reset()
        say("Forgotten.")

    def _show_settings(self) -> None:
        for field in SETTINGS:
            say(f"  /{field} {self._shown(field)}")

    def _help(self) -> None:
        for name, (_, words) in self._commands.items():
            say(f"  /{name:10} {words}")
        for field in SETTINGS:
            # A field's docstring is written for --help, which it may fill over several lines.
            words = " ".join((Decoding.model_fields[field].description or "").split())
            say(f"  /{field} VALUE: {words}")
        say("  /quit       end; so does Ctrl-D")
