"""The command, and the machine that it runs on."""

import hashlib
import multiprocessing
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from engine.__main__ import main
from engine.commands.download import Download
from engine.errors import EngineError
from tests.engine.downloads.file_server import FileServer, Twist
from tests.engine.downloads.small_release import (
    FILES,
    HASTE,
    PREFIX,
    WEIGHTS,
    WEIGHTS_PATH,
    Get,
    Run,
    contents,
    download_in_process,
    make_release,
)

DEADLINE_S = 60


def test_the_command_makes_a_folder_of_exactly_the_released_files(
    command: Run,
    server: FileServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    assert command() == 0
    assert contents(tmp_path / "124M") == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["124M"]
    assert [request.path for request in server.log] == [PREFIX + name for name in FILES]
    said, errors = capsys.readouterr()
    assert errors == ""
    assert f"GPT-2 124M is in {tmp_path / '124M'}" in said
    assert "clearly indicate that your content was created using GPT-2" in said
    assert "OVID_MODEL=124M python -m engine serve" in said
    for name in FILES:
        assert f"{name}: 0." in said


def test_the_hugging_face_name_and_the_mirror_may_come_from_anywhere(
    command: Run,
    server: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("OVID_MIRROR", server.url)
    monkeypatch.setenv("OVID_MODELS", str(tmp_path))
    assert main(["download", "OpenAI-Community/GPT2"]) == 0
    assert contents(tmp_path / "124M") == FILES


def test_a_second_call_does_nothing_and_says_so(
    command: Run, server: FileServer, capsys: pytest.CaptureFixture[str]
):
    assert command() == 0
    capsys.readouterr()
    num_requests = len(server.log)
    assert command() == 0
    assert "124M is there already: nothing to do." in capsys.readouterr().out
    assert command("--verify") == 0
    assert "every SHA-256 is right" in capsys.readouterr().out
    assert len(server.log) == num_requests


def test_verify_names_a_file_that_was_changed(
    command: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    command()
    changed = FILES["merges.txt"].replace(b"2", b"3")
    (tmp_path / "124M/merges.txt").write_bytes(changed)
    assert command() == 0
    assert command("--verify") == 1
    error = capsys.readouterr().err
    assert "merges.txt" in error
    assert hashlib.sha256(changed).hexdigest() in error
    assert hashlib.sha256(FILES["merges.txt"]).hexdigest() in error


def test_an_unknown_release_is_answered_with_the_known_ones(
    command: Run, server: FileServer, capsys: pytest.CaptureFixture[str]
):
    assert command(name="125M") == 1
    assert "no release '125M'" in (error := capsys.readouterr().err)
    assert "124M (gpt2)" in error
    assert server.log == []


def test_a_mirror_that_is_no_address_is_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["download", "124M", "--mirror", "elsewhere"]) == 2
    assert "mirror: " in capsys.readouterr().err


def test_a_password_in_the_mirror_is_not_shown(
    command: Run, server: FileServer, capsys: pytest.CaptureFixture[str]
):
    server.plan(PREFIX + "vocab.json", Twist(status=403))
    assert command("--mirror", f"http://me:secret@127.0.0.1:{server.port}") == 1
    said = capsys.readouterr()
    assert "403 (Forbidden)" in said.err
    assert "secret" not in said.out + said.err


def test_ctrl_c_stops_and_the_same_command_goes_on_from_there(
    command: Run,
    server: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def interrupt(wait_s: float) -> None:
        raise KeyboardInterrupt

    server.plan(WEIGHTS_PATH, Twist(end_after=200_000))
    monkeypatch.setattr(Download, "patience", replace(HASTE, sleep=interrupt))
    assert command() == 130
    assert "the same command goes on from here" in capsys.readouterr().out
    assert not (tmp_path / "124M").exists()
    assert command() == 0
    assert server.seen(WEIGHTS_PATH)[1].range == "bytes=196608-"
    assert len(server.log) == len(FILES) + 1


def test_too_little_room_is_said_before_the_first_byte(
    command: Run,
    server: FileServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(Download, "releases", {"124M": make_release(size_bytes=2**60)})
    assert command() == 1
    assert re.search(
        rf"124M needs {4 * 2**40} MiB more in .*, but only \d+ MiB are free",
        capsys.readouterr().err,
    )
    assert server.log == []


def test_a_disk_that_fills_up_is_one_sentence_and_no_model(
    command: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "124M.partial").mkdir()
    (tmp_path / f"124M.partial/{WEIGHTS}.part").symlink_to("/dev/full")
    assert command() == 1
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "124M").exists()


@pytest.mark.parametrize(
    ("below", "said"), [("x" * 300, "File name too long"), ("a-file/models", "Not a directory")]
)
def test_a_folder_that_cannot_be_made_is_one_sentence(
    command: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    below: str,
    said: str,
):
    (tmp_path / "a-file").touch()
    assert command(models=tmp_path / below) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_one_sentence(
    command: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    tmp_path.chmod(0o500)
    assert command() == 1
    assert "Permission denied" in capsys.readouterr().err


def test_what_another_process_finished_meanwhile_is_taken_as_it_is(
    get: Get, server: FileServer, tmp_path: Path
):
    assert get() == FILES
    num_requests = len(server.log)
    assert get() == FILES
    assert len(server.log) == num_requests
    assert [path.name for path in tmp_path.iterdir()] == ["124M"]


def test_something_else_with_the_name_is_left_alone(
    command: Run,
    server: FileServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "124M").mkdir()
    (tmp_path / "124M/notes.txt").write_text("mine")
    assert command() == 1
    assert "move it away first" in capsys.readouterr().err
    assert contents(tmp_path / "124M") == {"notes.txt": b"mine"}
    assert server.log == []


@contextmanager
def stalled_process(server: FileServer, models: Path) -> Iterator[Callable[[], None]]:
    """Run a download in a process until part of the weights is there; give what kills it."""
    server.plan(WEIGHTS_PATH, Twist(stall_after=200_000))
    process = multiprocessing.get_context("spawn").Process(
        target=download_in_process, args=(server.url, models)
    )
    process.start()
    part = models / f"124M.partial/{WEIGHTS}.part"
    deadline = time.monotonic() + DEADLINE_S
    while not (part.exists() and part.stat().st_size >= 196_608):
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)

    def kill() -> None:
        process.kill()
        process.join()

    try:
        yield kill
    finally:
        kill()
        process.close()


def test_after_kill_9_only_the_rest_is_asked_for(get: Get, server: FileServer, tmp_path: Path):
    with stalled_process(server, tmp_path) as kill:
        kill()
    assert not (tmp_path / "124M").exists()
    asked_before = len(server.log)
    assert get() == FILES
    request, config = server.log[asked_before:]
    assert (request.path, config.path) == (WEIGHTS_PATH, PREFIX + "config.json")
    assert request.range == "bytes=196608-"
    assert request.if_range == server.etag(WEIGHTS_PATH)


def test_a_second_process_is_turned_away_while_the_first_is_at_it(
    get: Get, server: FileServer, tmp_path: Path
):
    with stalled_process(server, tmp_path):
        before = contents(tmp_path / "124M.partial")
        with pytest.raises(EngineError, match="Another process is downloading 124M"):
            get()
        assert contents(tmp_path / "124M.partial") == before
    assert get() == FILES
