"""`chat` as a process: keys, history and Ctrl-C, at a terminal of its own and with a pipe."""

import codecs
import os
import pty
import select
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from prompt_toolkit.application import create_app_session
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from engine.commands.terminal import HINT, history_path, open_history, typed
from engine.weights import save_model
from tests.engine.models import TINY, make_model
from tests.engine.test_chat import LABEL
from tests.engine.test_command_line import DEADLINE_S, environment


@pytest.mark.parametrize(
    ("keys", "texts"),
    [
        ("one\rtwo\r", ["one", "two"]),
        ("one\x1b\rtwo\r", ["one\ntwo"]),
        ("  \rtwo\r", ["two"]),
        ("half\x03whole\r", ["whole"]),
    ],
    ids=["Enter sends", "Alt-Enter breaks", "nothing", "Ctrl-C clears"],
)
def test_what_keys_do(capsys: pytest.CaptureFixture[str], keys: str, texts: list[str]):
    with create_pipe_input() as keyboard, create_app_session(keyboard, DummyOutput()):
        keyboard.send_text(keys)
        lines = typed(InMemoryHistory())
        assert list(islice(lines, len(texts))) == texts
        keyboard.send_text("\x04")
        assert list(lines) == []
    assert capsys.readouterr().err == (f"{HINT}\n" if "\x03" in keys else "")


def test_the_history_lies_in_the_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert history_path() == tmp_path / "ovid" / "chat_history"
    monkeypatch.setenv("HOME", "/home/ann")
    for nowhere in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", nowhere)
        assert history_path() == Path("/home/ann/.local/state/ovid/chat_history")


def test_the_history_is_its_owners_alone(tmp_path: Path):
    path = tmp_path / "state" / "ovid" / "chat_history"
    path.parent.mkdir(parents=True)
    path.touch(mode=0o644)
    open_history(path).store_string("a secret")
    assert "a secret" in path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_ctrl_c_ends_a_chat_with_a_pipe(tmp_path: Path, vocabulary: Path):
    config = replace(TINY, n_ctx=1024)
    save_model(make_model(config), vocabulary, tmp_path / "tiny", dtype=torch.float32)
    (tmp_path / "prompts").write_text("one\n" * 10_000, encoding="utf-8")
    with (
        (tmp_path / "prompts").open("rb") as prompts,
        subprocess.Popen(
            [sys.executable, "-m", "engine", "chat", "--model", "tiny", "--models", "."],
            cwd=tmp_path,
            env=environment(),
            stdin=prompts,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as child,
    ):
        assert child.stdout is not None
        assert child.stdout.readline().decode().startswith(LABEL)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 130
    assert said == b""


# A session's first process that opens a terminal is told of a Ctrl-C that is typed there.
AT_TERMINAL = """
import os, runpy
os.close(os.open(os.ttyname(0), os.O_RDWR))
runpy.run_module("engine", run_name="__main__", alter_sys=True)
"""


class Terminal:
    """A program on a terminal: what it shows is read as it comes, under one deadline."""

    def __init__(self, args: list[str], folder: Path) -> None:
        self._here, there = pty.openpty()
        extra = {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "XDG_STATE_HOME": str(folder)}
        self.child = subprocess.Popen(
            [sys.executable, "-c", AT_TERMINAL, *args],
            cwd=folder,
            env=environment(**extra),
            stdin=there,
            stdout=there,
            stderr=there,
            start_new_session=True,
        )
        os.close(there)
        self._deadline_s = time.monotonic() + DEADLINE_S
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._num_read = 0
        self.shown = ""

    def wait_for(self, words: str) -> None:
        """Read until these words come behind those that were waited for last."""
        while (place := self.shown.find(words, self._num_read)) < 0:
            left_s = self._deadline_s - time.monotonic()
            assert left_s > 0, self.shown
            if select.select([self._here], [], [], left_s)[0]:
                self.shown += self._decoder.decode(os.read(self._here, 4096))
        self._num_read = place + len(words)

    def type(self, keys: str) -> None:
        os.write(self._here, keys.encode())

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        os.close(self._here)


def test_at_a_terminal_ctrl_c_stops_a_sample_and_ctrl_d_the_program(
    tmp_path: Path, vocabulary: Path
):
    config = replace(TINY, n_ctx=1024)
    save_model(make_model(config), vocabulary, tmp_path / "m" / "tiny", dtype=torch.float32)
    # So much is asked for that nothing ends by itself.
    args = ["chat", "--model", "tiny", "--models", "m", "--nsamples", "1024", "--batch-size", "1"]
    terminal = Terminal([*args, "--length", "1000"], tmp_path)
    try:
        terminal.wait_for("Ctrl-C stops a sample")
        terminal.wait_for(">>>")
        for prompt in ("first", "second"):
            terminal.type(f"{prompt}\r")
            terminal.wait_for(LABEL)
            terminal.type("\x03")
            terminal.wait_for("(stopped)")
            terminal.wait_for(">>>")
        terminal.type("\x04")
        assert terminal.child.wait(DEADLINE_S) == 0
    finally:
        terminal.close()
    assert "Traceback" not in terminal.shown
    history = (tmp_path / "ovid" / "chat_history").read_text(encoding="utf-8")
    assert [line for line in history.splitlines() if line.startswith("+")] == ["+first", "+second"]
