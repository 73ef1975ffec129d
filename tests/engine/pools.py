"""Pools of models that are no networks: real folders to be found, fake engines behind them."""

import threading
from pathlib import Path

import torch

from engine.llm_engine import LLMEngine
from engine.model_pool import ModelPool
from tests.engine.support import FakeModelRunner, NextToken, make_engine

CPU = torch.device("cpu")
WEIGHTS_NAME = "model.safetensors"


def write_model(models: Path, name: str, weights: str = "as first trained") -> Path:
    """Put a folder there that looks like a model, or look as if it was trained again."""
    folder = models / name
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"{WEIGHTS_NAME}.new"
    new.write_text(weights, encoding="utf-8")
    new.replace(folder / WEIGHTS_NAME)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    return folder


class FakeLoader:
    """Makes engines in the place of `load_engine`.

    Attributes:
        loaded: the names of folders, in the order in which they were loaded.
        gate: while it is closed, loads stand still.
        num_loading: loads under way; `most_at_once` is the largest number there was.
    """

    def __init__(self, next_tokens: dict[str, NextToken], *, pace_s: float = 0.0) -> None:
        self._next_tokens = next_tokens
        self._pace_s = pace_s
        self.loaded: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.num_loading = 0
        self.most_at_once = 0

    def __call__(
        self,
        folder: Path,
        device: torch.device,
        *,
        num_slots: int,
        prefill_tokens: int,
        max_waiting: int,
    ) -> tuple[LLMEngine, str]:
        self.num_loading += 1
        self.most_at_once = max(self.most_at_once, self.num_loading)
        try:
            assert self.gate.wait(60), "the gate was never opened"
            self.check(folder)
        finally:
            self.num_loading -= 1
        self.loaded.append(folder.name)
        runner = FakeModelRunner(self._next_tokens[folder.name], pace_s=self._pace_s)
        engine = make_engine(
            runner, num_slots=num_slots, prefill_tokens=prefill_tokens, max_waiting=max_waiting
        )
        return engine, folder.name

    def check(self, folder: Path) -> None:
        """Raise what keeps a folder from being loaded."""


def make_pool(
    models: Path, load: FakeLoader, default: str = "tiny", *, num_slots: int = 2
) -> ModelPool:
    return ModelPool(
        models,
        default,
        CPU,
        num_slots=num_slots,
        prefill_tokens=64,
        max_waiting=8,
        load=load,
    )
