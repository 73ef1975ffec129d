"""A folder of models for each test, and a server that most tests are content with."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.engine.http_api.serving import Served, copy_models, serving

LOWEST_PRIORITY = 19
"""The tests may have been given it themselves."""


@pytest.fixture
def models(saved: Path, tmp_path: Path) -> Path:
    """A folder with the tiny model in it, the test's own."""
    return copy_models(saved, tmp_path)


@pytest.fixture
async def served(models: Path) -> AsyncIterator[Served]:
    """A server with the tiny model."""
    async with serving(models) as server:
        yield server


@pytest.fixture
def training_file(tmp_path: Path) -> Path:
    """A text to train on."""
    path = tmp_path / "counting.jsonl"
    lines = (json.dumps({"text": f"{number} green bottles"}) + "\n" for number in range(40))
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def training_niceness(monkeypatch: pytest.MonkeyPatch) -> int:
    """How far training gives way: by one, or it would wait for all that loads the machine."""
    niceness = min(os.getpriority(os.PRIO_PROCESS, 0) + 1, LOWEST_PRIORITY)
    monkeypatch.setattr("engine.http_api.training_process.NICENESS", niceness)
    return niceness
