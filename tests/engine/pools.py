"""Pools of models that are no networks: real folders to be found, fake engines behind them."""

import asyncio
import contextlib
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import torch

from engine.errors import MemoryShortError
from engine.llm_engine import LLMEngine
from engine.model_pool import ModelPool
from tests.engine.callers import collect, text_of
from tests.engine.support import (
    ENDLESS,
    FakeModelRunner,
    NextToken,
    make_engine,
    make_params,
    replies,
)

CPU = torch.device("cpu")
WEIGHTS_NAME = "model.safetensors"
DEADLINE_S = 60


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


class Small(FakeLoader):
    """Has room for so many models at once. It counts those that are in memory for real."""

    def __init__(self, room: int, next_tokens: dict[str, NextToken]) -> None:
        super().__init__(next_tokens)
        self.room = room
        self.in_memory: weakref.WeakSet[LLMEngine] = weakref.WeakSet()

    def check(self, folder: Path) -> None:
        if len(self.in_memory) >= self.room:
            msg = f"{folder.name} needs 9 MiB, but 1 MiB are free."
            raise MemoryShortError(msg)

    def __call__(self, folder: Path, *args: object, **kwargs: object) -> tuple[LLMEngine, str]:
        engine, name = super().__call__(folder, *args, **kwargs)  # type: ignore[arg-type]
        self.in_memory.add(engine)
        return engine, name


def says(text: str) -> NextToken:
    return replies({"hi": text})


async def ask(pool: ModelPool, name: str | None) -> str:
    async with pool.use(name) as engine:
        return text_of(await collect(engine.generate("hi", make_params(max_tokens=50))))


@contextlib.asynccontextmanager
async def writing(pool: ModelPool, name: str) -> AsyncIterator[asyncio.Event]:
    """Have a model write without end; setting the event stops it."""
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        async with pool.use(name) as engine:
            params = make_params(max_tokens=ENDLESS)
            async for _ in engine.generate("endless", params, cancelled=cancelled):
                began.set()

    async with asyncio.timeout(DEADLINE_S):
        task = asyncio.create_task(write())
        await began.wait()
        try:
            yield cancelled
        finally:
            cancelled.set()
            await task


async def until(predicate: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not predicate():
            await asyncio.sleep(0.01)


async def loading(load: FakeLoader) -> None:
    await until(lambda: load.num_loading)
