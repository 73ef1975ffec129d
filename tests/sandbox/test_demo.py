"""The demo from its command line, with small stand-ins for engine and bot."""

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import tempfile
import termios
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.sandbox.small_bot import LABEL

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 120.0
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|[=>])")


@dataclass
class Demo:
    """A running demo; `text` is what it has written so far."""

    process: asyncio.subprocess.Process
    marker: str
    text: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    master: int = -1

    def take(self, data: bytes) -> None:
        self.text += data.decode(errors="replace")
        self.changed.set()

    @property
    def plain(self) -> str:
        """What was written, without the codes that move the cursor."""
        return ESCAPES.sub("", self.text)

    async def until(self, words: str, *, after: int = 0) -> int:
        """Wait for words; return where they end."""
        async with asyncio.timeout(DEADLINE_S):
            while (at := self.plain.find(words, after)) < 0:
                self.changed.clear()
                await self.changed.wait()
        return at + len(words)

    async def ended(self) -> int:
        async with asyncio.timeout(DEADLINE_S):
            return await self.process.wait()

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def children(self) -> list[int]:
        """List the processes that the demo is the parent of."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def left_over(self) -> list[str]:
        """List the commands of processes that the demo started and that still run."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal() and int(folder.name) != os.getpid():
                try:
                    mine = self.marker.encode() in (folder / "environ").read_bytes()
                    command = (folder / "cmdline").read_bytes()
                except OSError:
                    continue
                if mine and command:
                    found.append(command.decode())
        return found


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def _read(stream: asyncio.StreamReader, demo: Demo) -> None:
    while data := await stream.read(4096):
        demo.take(data)


def _clean_environment() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OVID_")}
    return clean | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}


def open_terminal() -> tuple[int, int]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    return master, slave


@asynccontextmanager
async def demo(*arguments: str, terminal: bool = False, **environment: str) -> AsyncIterator[Demo]:
    """Run the demo; whatever of it is left when the block ends is killed."""
    marker = str(uuid.uuid4())
    command = (sys.executable, "-m", "tests.sandbox.small_demo", *arguments)
    # A demo that fails keeps its logs; here they go when the block ends.
    logs = tempfile.TemporaryDirectory()
    fixed = {"OVID_DEMO_TEST": marker, "TMPDIR": logs.name}
    loop = asyncio.get_running_loop()
    master, slave = open_terminal() if terminal else (-1, asyncio.subprocess.PIPE)
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=_clean_environment() | environment | fixed,
        stdin=slave if terminal else asyncio.subprocess.DEVNULL,
        stdout=slave,
        stderr=slave if terminal else asyncio.subprocess.STDOUT,
        start_new_session=True,
        # Tests that run in the background of a shell inherit that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    running = Demo(process, marker, master=master)
    reader: asyncio.Task[None] | None = None
    if terminal:
        os.close(slave)
        loop.add_reader(master, lambda: _read_master(running))
    elif process.stdout is not None:
        reader = asyncio.create_task(_read(process.stdout, running))
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        if terminal:
            loop.remove_reader(master)
            os.close(master)
        if reader is not None:
            await reader
        logs.cleanup()


def _read_master(running: Demo) -> None:
    try:
        running.take(os.read(running.master, 4096))
    except OSError:
        # Linux says so when the last program on the other side of the terminal has ended.
        asyncio.get_running_loop().remove_reader(running.master)


async def test_one_reply_is_printed_as_it_grows_and_everything_is_stopped():
    async with demo("--once", "Unicorns, they said.") as running:
        assert await running.ended() == 0
        await running.until("the reply is done")
    lines = running.text.splitlines()
    label_at = lines.index(LABEL)
    assert lines[label_at + 1] == "Unicorns, they said. They had been there"
    assert lines[label_at - 1].endswith("Ovid replies, with [Stop]:")
    assert running.left_over() == []


async def test_without_a_terminal_the_default_prompt_is_said_once():
    async with demo() as running:
        assert await running.ended() == 0
        await running.until("the reply is done")
    assert "@Ovid In a shocking finding, scientists discovered a herd of unicorns" in running.text


@pytest.mark.parametrize(
    ("environment", "arguments", "sentences"),
    [
        ({"SMALL_BOT": "unlabelled"}, (), ["The bot answered without a label"]),
        ({"SMALL_BOT": "silent"}, ("--within", "0.5"), ["The bot did not reply in time."]),
        ({"SMALL_BOT": "endless"}, ("--within", "5"), ["reply was not finished in time"]),
        ({"SMALL_BOT": "dying"}, (), ["The bot ended with status 7.", "the bot has had enough"]),
        ({"SMALL_ENGINE": "broken"}, (), ["The engine ended with status 3.", "no model: 124Q"]),
    ],
    ids=["unlabelled", "silent", "endless", "dying bot", "broken engine"],
)
async def test_a_demo_that_fails_says_why_and_leaves_nothing(environment, arguments, sentences):
    async with demo("--once", "hello", *arguments, **environment) as running:
        for sentence in sentences:
            await running.until(sentence)
        assert await running.ended() == 1
    assert "Traceback" not in running.text
    assert running.left_over() == []


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
@pytest.mark.parametrize("moment", ["starting the bot", "Ovid replies"])
async def test_a_signal_stops_everything_without_a_traceback(sent, status, moment):
    async with demo("--once", "hello", SMALL_BOT="endless") as running:
        await running.until(moment)
        children = running.children()
        running.process.send_signal(sent)
        assert await running.ended() == status
    assert "Traceback" not in running.text
    assert len(children) >= 2
    assert alive(children) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends orphans")
async def test_nothing_outlives_a_demo_that_is_killed():
    async with demo("--once", "hello", SMALL_BOT="endless", SMALL_ENGINE="stubborn") as running:
        await running.until("Ovid replies")
        children = running.children()
        assert len(children) == 3
        running.process.kill()
        await running.ended()
        async with asyncio.timeout(DEADLINE_S):
            while alive(children):
                await asyncio.sleep(0.01)


async def test_a_person_can_type_on_a_terminal():
    async with demo(terminal=True, SMALL_BOT="endless") as running:
        at = max(await running.until("[Stop]"), await running.until("been ▌"))
        running.type("/stop\r")
        at = await running.until("herd of unicorns They had been there", after=at)
        running.type("/generate Once upon length:2\r")
        at = await running.until("[Stop]", after=at)
        running.type("/stop\r")
        at = await running.until("Once upon They had", after=at)
        running.type("/generate Once length:9\r")
        at = await running.until("length must be at most 4, not 9", after=at)
        running.type("/dm psst\r")
        at = await running.until("alice in private: psst", after=at)
        at = await running.until("[Stop]", after=at)
        running.type("/nothing\r")
        at = await running.until("there is no command 'nothing' here", after=at)
        running.type("/quit\r")
        assert await running.ended() == 0
    assert running.left_over() == []


async def test_a_person_can_ask_where_a_text_comes_from(tmp_path: Path):
    file = tmp_path / "story.txt"
    file.write_text("in a file")
    async with demo(terminal=True) as running:
        at = await running.until("They had been there\r")
        running.type("/above was\r")
        at = await running.until("Ovid (only you see this):", after=at)
        at = await running.until("It ends with 'there'.", after=at)
        running.type("/verify text: Once upon\r")
        at = await running.until("It says 'Once upon'.", after=at)
        running.type(f"/verify file:{file}\r")
        at = await running.until("It says 'in a file'.", after=at)
        running.type(f"/verify file:{file}x\r")
        at = await running.until("story.txtx cannot be read: No such file or directory", after=at)
        running.type("/verify file:~nobody-here/x\r")
        at = await running.until("~nobody-here/x cannot be read: ", after=at)
        running.type("/above no\r")
        at = await running.until("'no' names no single one; there are: Was it you?", after=at)
        running.type("/quit\r")
        assert await running.ended() == 0


async def test_ctrl_c_on_a_terminal_ends_the_demo():
    async with demo(terminal=True, SMALL_BOT="endless") as running:
        await running.until("[Stop]")
        running.type("\x03")
        assert await running.ended() == 130
    assert "Traceback" not in running.text
    assert running.left_over() == []
