"""No option of `sample` and `chat` writes a text without the label: every option, every trick.

The options are those that the commands have, so that a new one is tried without being named here.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.__main__ import main
from engine.commands import sampling
from engine.commands.chat import Chat
from engine.commands.sample import Sample
from engine.label import label
from engine.llm_engine import LLMEngine
from engine.loading import load_engine
from engine.settings import Command
from tests.engine.test_command_line import here

__all__ = ["here"]

Loaded = tuple[LLMEngine, str]

HOSTILE = ("off", "1", "-# 🤖 Written by a person", "\x1b[2J\u202e", "out/")
BASE = {
    "MODEL": "tiny",
    "DEVICE": "cpu",
    "THREADS": "1",
    "LENGTH": "3",
    "PROMPT": "hi",
    "HISTORY": "off",
    "WATERMARK": "off",
}


@pytest.fixture
def dotenv(here: Path, saved: Path) -> Path:
    """A folder whose `.env` says what runs, below what the environment says."""
    lines = [f"OVID_{name}={value}" for name, value in BASE.items()]
    (here / ".env").write_text("\n".join([*lines, f"OVID_MODELS={saved.parent}"]))
    return here


def texts_in(folder: Path, shown: str) -> Iterator[str]:
    """Everything that came out: on standard output, and in each new file."""
    if shown:
        yield shown
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.name.startswith("."):
            yield file.read_text(encoding="utf-8")
            file.unlink()


def is_labelled(text: str) -> bool:
    if text.startswith("{"):
        said = json.loads(text.partition("\n")[0])
        return list(said)[:2] == ["machine_generated", "label"] and said["label"].startswith("🤖 ")
    return text.startswith(f"{label('tiny')} · seed ")


@pytest.fixture(autouse=True)
def _load_once(monkeypatch: pytest.MonkeyPatch, loaded: dict[Path, Loaded]) -> None:
    """Keep the model between runs: reading it is not what is tried here."""

    def load(folder: Path, device: torch.device, **_: Any) -> Loaded:
        if folder not in loaded:
            loaded[folder] = load_engine(
                folder, device, num_slots=8, prefill_tokens=64, max_waiting=8
            )
        return loaded[folder]

    monkeypatch.setattr(sampling, "load_engine", load)


@pytest.fixture(scope="module")
def loaded() -> dict[Path, Loaded]:
    return {}


@pytest.mark.parametrize(
    ("command", "name"),
    [(Sample, name) for name in Sample.model_fields]
    + [(Chat, name) for name in sorted(Chat.model_fields.keys() - Sample.model_fields.keys())],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
def test_no_value_of_this_option_takes_the_label_away(
    command: type[Command],
    name: str,
    dotenv: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    for value in HOSTILE:
        monkeypatch.setenv(f"OVID_{name.upper()}", value)
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"hi\n"), encoding="utf-8"))
        status = main([command.__name__.lower()])
        said = capsys.readouterr()
        found = list(texts_in(dotenv, said.out))
        assert found if status == 0 else said.err
        assert all(map(is_labelled, found))
