"""Where the watermark's key is kept: made once, read by its owner alone, shown to nobody."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.errors import EngineError
from engine.key_store import open_keys, parse_keys
from engine.watermark import WatermarkKey

FIRST, SECOND = "ab" * 32, "cd" * 32


def test_the_first_start_makes_a_key_that_only_its_owner_reads(tmp_path: Path):
    path = tmp_path / "state" / "key"
    [key] = open_keys(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_keys(path) == (key,)
    assert [each.name for each in path.parent.iterdir()] == ["key"]
    [other] = open_keys(tmp_path / "other")
    assert other != key


def test_engines_that_start_at_once_share_one_key(tmp_path: Path):
    path = tmp_path / "key"
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(open_keys, [path] * 32))
    assert len(found) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


def test_after_a_rotation_the_old_key_stands_behind_the_new_one(tmp_path: Path):
    path = tmp_path / "key"
    path.write_text(f"{FIRST}\n{SECOND}\n", encoding="ascii")
    expected = (WatermarkKey(bytes.fromhex(FIRST)), WatermarkKey(bytes.fromhex(SECOND)))
    assert open_keys(path) == expected
    assert parse_keys(f"{FIRST}, {SECOND}", "OVID_WATERMARK_KEY") == expected


@pytest.mark.parametrize("damaged", ["", "xyz", FIRST[:-2], FIRST + "00", f"{FIRST} {SECOND[1:]}"])
def test_a_damaged_key_is_refused_and_not_shown(tmp_path: Path, damaged: str):
    path = tmp_path / "key"
    path.write_text(damaged, encoding="ascii")
    with pytest.raises(EngineError, match="holds no watermark key") as refusal:
        open_keys(path)
    assert str(path) in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert not damaged or damaged not in str(refusal.value)


def test_a_place_that_cannot_hold_a_key_is_named_with_the_ways_out(tmp_path: Path):
    (tmp_path / "file").write_text("", encoding="ascii")
    with pytest.raises(EngineError, match="cannot be kept in") as refusal:
        open_keys(tmp_path / "file" / "key")
    assert "OVID_WATERMARK=off" in str(refusal.value)


def test_a_key_shows_a_fingerprint_and_never_itself():
    key = WatermarkKey(os.urandom(32))
    for shown in (repr(key), str(key), f"{(key,)}", key.fingerprint):
        assert key.secret.hex() not in shown
        assert repr(key.secret) not in shown
    assert len(key.fingerprint) == 8
    assert WatermarkKey(os.urandom(32)).fingerprint != key.fingerprint


def test_a_key_of_another_length_is_no_key():
    with pytest.raises(ValueError, match="32 bytes, not 16"):
        WatermarkKey(bytes(16))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_may_read_or_write_is_taken_and_named_with_the_remedy(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "key"
    path.write_text(FIRST, encoding="ascii")
    path.chmod(mode)
    assert open_keys(path) == (WatermarkKey(bytes.fromhex(FIRST)),)
    [said] = [record.getMessage() for record in caplog.records]
    assert f"{path} is open to other users of this machine (mode {mode:04o})" in said
    assert said.endswith(f"Close it with: chmod 600 {path}")
    assert FIRST not in said


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_of_a_key_that_its_owner_alone_reads_nothing_is_said(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "state" / "key"
    open_keys(path)
    path.chmod(mode)
    open_keys(path)
    assert caplog.records == []
