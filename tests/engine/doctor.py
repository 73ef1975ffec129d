"""What the tests of `python -m engine doctor` share: a model's folder to spoil, and the call."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.__main__ import main
from engine.watermark import WatermarkKey

SECRET, OLD_SECRET = bytes(range(32)), bytes(range(1, 33))
MARK, OLD_MARK = WatermarkKey(SECRET).fingerprint, WatermarkKey(OLD_SECRET).fingerprint

Examine = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def models(saved: Path, here: Path) -> Path:
    """A folder with one model and a key, for a test to spoil."""
    shutil.copytree(saved, here / "models" / "tiny")
    key_file = here / "models" / ".watermark-key"
    key_file.write_text(f"{SECRET.hex()}\n{OLD_SECRET.hex()}\n")
    key_file.chmod(0o600)
    return here / "models"


@pytest.fixture
def examine(models: Path, capsys: pytest.CaptureFixture[str]) -> Examine:
    """Runs `doctor` for that folder, without Redis unless one is named: exit status and lines."""

    def run(*more: str, redis_url: str | None = None) -> tuple[int, list[str]]:
        door = ("--no-redis", "--http-port", "0") if redis_url is None else ()
        where = () if redis_url is None else ("--redis-url", redis_url)
        options = ("--models", str(models), "--model", "tiny", "--device", "cpu")
        status = main(["doctor", *options, *door, *where, *more])
        output = capsys.readouterr()
        assert output.err == ""
        assert SECRET.hex() not in output.out
        assert OLD_SECRET.hex() not in output.out
        return status, output.out.splitlines()

    return run


def only(lines: list[str], level: str) -> str:
    [line] = [each for each in lines if each.startswith(level)]
    return line
