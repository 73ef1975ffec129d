"""`python -m engine doctor`: faults of machine, models, key and engines, and the exit status."""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from redis.asyncio import Redis

from tests.engine.doctor import MARK, OLD_MARK, OLD_SECRET, SECRET, Examine, examine, models, only
from tests.engine.test_command_line import here
from tests.threads import num_threads
from wire.queue import JobQueue

__all__ = ["examine", "here", "models"]

NOBODY = 65534


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts back how many threads PyTorch has."""
    with num_threads(torch.get_num_threads()):
        yield


def test_an_engine_that_lacks_nothing_is_all_well(examine: Examine, models: Path):
    status, lines = examine()
    assert status == 0
    assert {line.split()[0] for line in lines} == {"ok"}
    assert "ok    models: tiny, the default, can be read and fits into memory." in lines
    assert f"ok    key: {MARK} from {models}/.watermark-key; old ones: {OLD_MARK}." in lines


async def test_a_redis_is_looked_at_as_the_bot_looks_at_it(examine: Examine, redis_url: str):
    status, lines = await asyncio.to_thread(examine, redis_url=redis_url)
    assert status == 0
    assert "note  engines: none is alive." in lines
    assert "ok    clock: it agrees with Redis's." in lines


def test_a_redis_that_is_not_there_is_a_fault_without_its_password(examine: Examine, here: Path):
    status, lines = examine(redis_url=f"unix://:hunter2@{here}/nowhere.sock")
    assert status == 2
    assert only(lines, "FAULT").startswith("FAULT redis: no use can be made of it at unix://:***@")
    assert "hunter2" not in "".join(lines)


def test_a_key_that_others_can_read_is_a_fault_until_the_remedy_is_applied(
    examine: Examine, models: Path
):
    key_file = models / ".watermark-key"
    for mode in (0o644, 0o640, 0o602):
        key_file.chmod(mode)
        status, lines = examine()
        assert status == 2
        assert f"(mode {mode:o}), who could forge the mark. chmod 600 {key_file};" in only(
            lines, "FAULT"
        )
    key_file.chmod(0o600)
    assert examine()[0] == 0


@pytest.mark.parametrize("text", ["", "not a key", SECRET.hex()[:-2]])
def test_a_damaged_key_is_a_fault_and_not_shown(examine: Examine, models: Path, text: str):
    (models / ".watermark-key").write_text(text)
    status, lines = examine()
    assert status == 2
    line = only(lines, "FAULT")
    assert line.startswith(f"FAULT key: {models}/.watermark-key holds no watermark key")
    assert not text or text not in line


def test_a_key_that_cannot_be_read_is_a_fault(examine: Examine, models: Path):
    (models / ".watermark-key").unlink()
    (models / ".watermark-key").mkdir()
    status, lines = examine()
    assert status == 2
    assert only(lines, "FAULT").startswith(
        f"FAULT key: {models}/.watermark-key cannot be read: Is a directory."
    )


def test_a_key_that_is_still_to_be_made_is_worth_a_note_and_not_made(
    examine: Examine, models: Path
):
    (models / ".watermark-key").unlink()
    status, lines = examine()
    assert status == 0
    assert "the first start makes it in" in only(lines, "note")
    assert not (models / ".watermark-key").exists()


def test_a_key_that_cannot_be_made_is_a_fault(examine: Examine, monkeypatch: pytest.MonkeyPatch):
    # Not below pytest's folders, into which no other user may look.
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o555)
    monkeypatch.chdir(folder)
    me = os.geteuid()
    try:
        if me == 0:
            os.seteuid(NOBODY)
        status, lines = examine("--watermark-key-file", str(folder / "a" / "key"))
    finally:
        if me == 0:
            os.seteuid(me)
        folder.rmdir()
    assert status == 2
    assert (
        f"FAULT key: there is none, and none can be made in {folder}/a/key. Let {folder} be "
        in ("\n".join(lines))
    )


def test_a_key_in_a_setting_is_judged_too(examine: Examine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OVID_WATERMARK_KEY", OLD_SECRET.hex())
    status, lines = examine()
    assert status == 0
    assert f"ok    key: {OLD_MARK} from OVID_WATERMARK_KEY." in lines
    monkeypatch.setenv("OVID_WATERMARK_KEY", OLD_SECRET.hex()[1:])
    status, lines = examine()
    assert status == 2
    line = only(lines, "FAULT")
    assert line.startswith("FAULT key: OVID_WATERMARK_KEY holds no watermark key")
    assert OLD_SECRET.hex()[1:] not in line


def test_a_watermark_that_is_off_is_worth_a_note(examine: Examine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OVID_WATERMARK", "off")
    status, lines = examine()
    assert status == 0
    assert only(lines, "note").startswith("note  key: OVID_WATERMARK is off: nobody can prove")


async def test_an_engine_with_another_key_is_named(
    examine: Examine, models: Path, redis: Redis, redis_url: str
):
    queue = JobQueue(redis)

    async def found(mark: str) -> tuple[int, list[str]]:
        await queue.claim("e1", ["tiny"], 0, [])
        await queue.announce("e1", mark)
        return await asyncio.to_thread(examine, redis_url=redis_url)

    assert (await found(MARK))[0] == 0
    status, lines = await found(OLD_MARK)
    assert status == 1
    assert f"here {MARK}, e1 {OLD_MARK}" in only(lines, "warn")
    (models / ".watermark-key").unlink()
    status, lines = await found(MARK)
    assert status == 1
    assert f"here none, e1 {MARK}" in only(lines, "warn")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("config.json", None, "the default model 'tiny' is neither in "),
        ("config.json", "{", "tiny is of no use: "),
        ("vocab.json", "{}", "vocab.json is not a table of tokens and their ids"),
        ("merges.txt", None, "holds no vocabulary: vocab.bpe or merges.txt is missing"),
        ("model.safetensors", None, "holds no weights: model.safetensors is missing"),
        ("model.safetensors", "x", "model.safetensors"),
    ],
)
def test_a_default_model_that_is_damaged_is_a_fault(
    examine: Examine, models: Path, name: str, text: str | None, said: str
):
    if text is None:
        (models / "tiny" / name).unlink()
    else:
        (models / "tiny" / name).write_text(text)
    status, lines = examine()
    assert status == 2
    line = only(lines, "FAULT")
    assert line.startswith("FAULT models: ")
    assert said in line


def test_another_model_that_is_damaged_is_a_warning_and_the_default_serves(
    examine: Examine, models: Path
):
    shutil.copytree(models / "tiny", models / "notes")
    shutil.copytree(models / "tiny", models / "whole")
    (models / "notes" / "model.safetensors").unlink()
    (models / "124M.partial").mkdir()
    status, lines = examine()
    assert status == 1
    assert only(lines, "warn").startswith("warn  models: notes is of no use: ")
    assert "ok    models: whole can be read." in lines
    assert only(lines, "note").startswith(f"note  models: {models}/124M.partial is unfinished.")


def change_config(folder: Path, **fields: int) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_vocabulary_that_does_not_fit_the_model_is_a_fault(examine: Examine, models: Path):
    change_config(models / "tiny", vocab_size=100)
    status, lines = examine()
    assert status == 2
    assert "tiny has 257 tokens and room for 100" in only(lines, "FAULT")


def test_a_model_that_does_not_fit_into_memory_is_a_fault_with_the_numbers(
    examine: Examine, models: Path
):
    change_config(models / "tiny", n_positions=2**24, n_ctx=2**24)
    status, lines = examine("--slots", "1024")
    assert status == 2
    line = only(lines, "FAULT")
    assert line.startswith("FAULT memory: The weights and 1024 slots need ")
    assert line.endswith("Take fewer OVID_SLOTS or a smaller model.")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_there_is_a_fault(examine: Examine):
    status, lines = examine("--device", "cuda")
    assert status == 2
    assert any(line.startswith("FAULT device: The device is set to cuda") for line in lines)


@pytest.mark.usefixtures("threads")
def test_more_threads_than_cores_are_a_warning(examine: Examine):
    status, lines = examine("--threads", "1024")
    assert status == 1
    line = only(lines, "warn")
    assert line.startswith("warn  device: 1024 threads share ")
    assert line.endswith(f"Set OVID_THREADS={os.cpu_count()}.")
