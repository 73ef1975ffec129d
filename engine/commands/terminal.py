"""Owns where prompts come from: a person at a terminal, or lines of a pipe. Knows no model."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

HINT = "Ctrl-D or /quit ends."


def history_path() -> Path:
    """Return the file of what was typed, by the XDG base directory specification."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    # The specification has a relative path ignored.
    root = state if state.is_absolute() else Path.home() / ".local" / "state"
    return root / "ovid" / "chat_history"


def open_history(path: Path | None) -> History:
    """Return a history that lasts in a file, or, without one, as long as the program.

    Raises:
        OSError: the file cannot be made, or not made private.
    """
    if path is None:
        return InMemoryHistory()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    path.chmod(0o600)
    return FileHistory(path)


def typed(history: History) -> Iterator[str]:
    """Yield what a person types: Enter sends it, Alt-Enter begins a new line, Ctrl-D ends."""
    session: PromptSession[str] = PromptSession(
        history=history, multiline=True, key_bindings=_keys(), prompt_continuation="... "
    )
    while True:
        try:
            text = session.prompt(">>> ")
        except KeyboardInterrupt:
            say(HINT)
        except EOFError:
            return
        else:
            if text.strip():
                yield text


def piped() -> Iterator[str]:
    """Yield the lines of standard input that are not empty."""
    for line in sys.stdin.buffer:
        # What is no UTF-8 is refused where prompts are read, line by line.
        text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
        if text.strip():
            yield text


def say(message: str) -> None:
    """Tell the person something that is no model text."""
    print(message, file=sys.stderr, flush=True)


@contextmanager
def interrupts() -> Iterator[threading.Event]:
    """Turn Ctrl-C into an event for as long as this lasts, so that no step is torn apart."""
    pressed = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: pressed.set())
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys
