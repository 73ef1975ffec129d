"""What the tests of `finetune` share: a folder to run it in, and what it has written there."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from engine.__main__ import main
from engine.train.finetune import StepReport
from engine.train.losses import LossLog
from engine.weights import save_model
from tests.engine.models import make_model
from tests.engine.training import DOCUMENTS, SMALL, KilledError


@pytest.fixture
def models(tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models' folder with a `base` to start from, a text beside it, and nothing set outside."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models"
    save_model(make_model(SMALL), vocabulary, folder / "base", dtype=torch.float32)
    (tmp_path / "text.txt").write_text("<|endoftext|>".join(DOCUMENTS), encoding="utf-8")
    return folder


def arguments(*options: str, name: str = "new", data: str = "text.txt") -> list[str]:
    return [
        *("finetune", data, "--name", name, "--model", "base", "--device", "cpu"),
        *("--block-tokens", "16", "--epochs", "1", *options),
    ]


def finetune(*options: str, name: str = "new", data: str = "text.txt") -> int:
    return main(arguments(*options, name=name, data=data))


def rows_of(folder: Path) -> list[list[str]]:
    with (folder / "losses.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def measured(folder: Path) -> list[list[str]]:
    """What the same run would write again: all but its speed."""
    return [row[:4] for row in rows_of(folder)]


@contextmanager
def killed_at(*steps: int) -> Iterator[None]:
    """Let a run end as if it were killed, its checkpoint one step behind its table."""
    write = LossLog.write

    def write_then_die(self: LossLog, said: StepReport) -> None:
        write(self, said)
        if said.step in steps:
            raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LossLog, "write", write_then_die)
        yield
