"""The slow judge, and the fast way in one call."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from engine.evaluate.command import Evaluate, evaluate
from engine.evaluate.report import Result
from tests.engine.evaluate.reference import SlowModel

Measure = Callable[..., Result]
SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "eval"


@pytest.fixture(scope="session")
def slow(transformers: ModuleType, saved: Path) -> SlowModel:
    return SlowModel(transformers, saved)


@pytest.fixture
def measure(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Write a text to a file and measure a task on it, with the tiny model unless told."""
    monkeypatch.chdir(tmp_path)

    def run(task: Any, content: str | bytes | Path, **settings: Any) -> Result:
        path = content if isinstance(content, Path) else tmp_path / "data"
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif isinstance(content, bytes):
            path.write_bytes(content)
        settings = {"model": str(saved), "device": "cpu"} | settings
        return evaluate(Evaluate(task=task, data=path, **settings))

    return run


def values(result: Result) -> dict[str, float]:
    return {metric.name: metric.value for metric in result.metrics}


def shared(path: str) -> Path:
    """A file of the shared data; the test is skipped where it is not there."""
    found = SHARED / path
    if not found.is_file():
        pytest.skip(f"{found} is not here")
    return found
