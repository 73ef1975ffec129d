"""The watermark's key is shown nowhere: no help, no error, no list of processes, no log."""

import asyncio
import pkgutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from engine.__main__ import COMMANDS, main
from engine.commands.marking import MarkingCommand
from engine.commands.sample import Sample
from engine.commands.serve import Serve
from engine.commands.verify import Verify
from tests.engine.marked import KEY, OLD, marked_letters
from tests.engine.serving import ended
from tests.engine.test_command_line import here, only_line
from tests.engine.test_serve_command import line_with, models, options, serve
from tests.wire.support import ROOMY, make_job, record_of
from wire.queue import JobQueue
from wire.verdicts import Verdict, Verified

__all__ = ["here", "models", "options"]

SECRET = KEY.secret.hex()
MARKING = [
    name
    for name, place in COMMANDS.items()
    if issubclass(pkgutil.resolve_name(place), MarkingCommand)
]


@pytest.fixture
def with_keys(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in, and two keys in the environment."""
    monkeypatch.setenv("OVID_WATERMARK_KEY", f"{SECRET},{OLD.secret.hex()}")
    return here


def shows_a_key(text: str) -> bool:
    return any(key.secret.hex() in text or repr(key.secret) in text for key in (KEY, OLD))


@pytest.mark.parametrize("command", MARKING)
def test_the_help_shows_no_key_and_no_option_for_one(
    command: str, with_keys: Path, capsys: pytest.CaptureFixture[str]
):
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert "--watermark-key-file" in said
    assert "--watermark-key " not in said
    assert not shows_a_key(said)


@pytest.mark.parametrize("command", MARKING)
@pytest.mark.parametrize("given", [["--watermark-key", SECRET], [f"--watermark_key={SECRET}"]])
def test_a_key_on_the_command_line_is_refused_and_not_repeated(
    command: str, given: list[str], here: Path, capsys: pytest.CaptureFixture[str]
):
    assert main([command, *given]) == 2
    said = only_line(capsys.readouterr().err)
    assert said.startswith(f"{command}: --watermark-key is not taken here, where every user")
    assert said.endswith("put it into OVID_WATERMARK_KEY.")
    assert not shows_a_key(said)


@pytest.mark.parametrize(
    "args",
    [
        ["serve", "--no-redis"],
        ["serve", "--slots", "many"],
        ["serve", "--redis-url", "nowhere"],
        ["serve", "--no-redis", "--http-port", "0", "--model", "gone"],
        ["sample", "--model", "gone"],
        ["sample", "--top-p", "7"],
        ["verify"],
        ["verify", "gone"],
    ],
    ids=" ".join,
)
def test_no_error_shows_a_key(args: list[str], with_keys: Path, capsys: pytest.CaptureFixture[str]):
    assert main(args) in (1, 2)
    shown = capsys.readouterr()
    assert only_line(shown.err)
    assert not shows_a_key(shown.err + shown.out)


@pytest.mark.parametrize("damaged", [SECRET[:-1], f"{SECRET}x", "hunter2"])
def test_a_damaged_key_in_the_environment_or_a_file_is_named_and_not_shown(
    damaged: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    (here / "text").write_text("text", encoding="ascii")
    (here / "key").write_text(damaged, encoding="ascii")
    for variable, value, named in (
        ("OVID_WATERMARK_KEY_FILE", "key", "key holds no watermark key"),
        ("OVID_WATERMARK_KEY", damaged, "OVID_WATERMARK_KEY holds no watermark key"),
    ):
        monkeypatch.setenv(variable, value)
        assert main(["verify", "text"]) == 1
        said = only_line(capsys.readouterr().err)
        assert said.startswith(f"verify: {named}: a key is 64 hexadecimal digits")
        assert damaged[:12] not in said


def test_no_settings_object_shows_a_key(with_keys: Path):
    for command in (Serve(), Sample(), Verify(files=[Path("text")])):
        keys = command.keys()
        assert keys == (KEY, OLD)
        assert not shows_a_key(f"{command!r} {command} {keys!r} {command.marking_key()}")


def test_with_the_mark_off_old_texts_can_be_verified_and_no_key_is_made(
    here: Path, monkeypatch: pytest.MonkeyPatch
):
    off = Serve(watermark=False)
    assert (off.marking_key(), off.known_keys()) == (None, ())
    assert list(here.iterdir()) == []
    monkeypatch.setenv("OVID_WATERMARK_KEY", SECRET)
    off = Serve(watermark=False)
    assert (off.marking_key(), off.known_keys()) == (None, (KEY,))


def test_a_key_that_cannot_be_read_is_named_with_a_way_out_that_is_one(
    here: Path, capsys: pytest.CaptureFixture[str]
):
    (here / "key").mkdir(mode=0o700)
    (here / "text").write_text("text", encoding="ascii")
    assert main(["verify", "text", "--no-watermark", "--watermark-key-file", "key"]) == 1
    said = only_line(capsys.readouterr().err)
    assert said.startswith("verify: the watermark key in key cannot be read: Is a directory. Let")
    assert "OVID_WATERMARK=off" not in said


@asynccontextmanager
async def another_engine(queue: JobQueue, fingerprint: str) -> AsyncIterator[None]:
    """An engine called `elsewhere` that takes no jobs, and lives until the end."""

    async def live() -> None:
        while True:
            await queue.beat("elsewhere", [])
            await asyncio.sleep(1)

    await queue.claim("elsewhere", ["tiny"], 0, [])
    await queue.announce("elsewhere", fingerprint)
    living = asyncio.create_task(live())
    try:
        yield
    finally:
        living.cancel()


async def test_serve_names_an_engine_with_another_key_and_shows_none(
    tmp_path: Path, options: list[str], redis: Redis, redis_url: str
):
    queue, said = JobQueue(redis), list[str]()
    await queue.submit(make_job("1", kind="verify", prompt=marked_letters(OLD)), ROOMY)
    keys = f"{SECRET},{OLD.secret.hex()}"
    debug = ("--log-level", "DEBUG")
    async with (
        another_engine(queue, OLD.fingerprint),
        serve(tmp_path, options, redis_url, *debug, OVID_WATERMARK_KEY=keys) as (child, log),
    ):
        ready = await line_with(log, "engine ready", said)
        assert f"; texts are marked with key {KEY.fingerprint}; models: tiny" in ready
        named = await line_with(log, "different watermark keys", said)
        assert f"marks with {KEY.fingerprint}, but elsewhere marks with {OLD.fingerprint}." in named
        await ended(queue, "1")
        listed = arguments_of(child.pid)
        child.send_signal(signal.SIGTERM)
        said.append((await log.read()).decode())
        assert await child.wait() == 0
    found = (await record_of(queue, "1")).outcome
    assert isinstance(found, Verified)
    assert (found.verdict, found.key) == (Verdict.OURS, OLD.fingerprint)
    everything = "".join(said)
    assert "job=1 attempt=1 ending=verified" in everything
    assert "serve" in listed
    assert not shows_a_key(everything + listed)


def arguments_of(pid: int) -> str:
    """Return what other users of the machine can list of a process."""
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
