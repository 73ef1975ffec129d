"""Owns which models run: each is loaded when first asked for, and closed when room is needed.

Knows names and folders, but no door: whoever serves takes an engine for as long as it is used.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

import torch

from engine.async_engine import AsyncEngine
from engine.checkpoints.stamps import FileStamps, file_stamps
from engine.errors import EngineError, MemoryShortError, UnknownModelError
from engine.llm_engine import LLMEngine
from engine.loading import canonical_name, find_model, load_engine, model_folders, model_name
from engine.model_reader import read_model

log = logging.getLogger(__name__)

MAX_NAMED = 20
"""Known models that a refusal lists."""

LOOK_S = 5.0
"""How often the files of a default model that could not be loaded are looked at."""


@dataclass(eq=False, slots=True)
class _Running:
    """One model: being loaded, or with an engine; `stamps` are its files' as it was loaded."""

    name: str
    folder: Path
    stamps: FileStamps = frozenset()
    engine: AsyncEngine | None = None
    num_users: int = 0
    is_idle: asyncio.Event = field(default_factory=asyncio.Event)
    loading: asyncio.Task[AsyncEngine] | None = None

    def is_outdated(self, folder: Path, now: FileStamps) -> bool:
        # One that is being loaded stays: nobody would stop it, and its askers wait for it.
        if self.engine is None:
            return False
        # While a folder is being replaced there may be nothing in it.
        return folder != self.folder or (bool(now) and now != self.stamps)


class ModelPool:
    """Give each model that is asked for an engine. Use it as an async context manager.

    A model that was trained again is loaded anew at the next request, while what its former
    weights are still writing is finished. Where memory is short, models that nobody uses are
    closed, the longest unused first; the default model stays. Where that one was damaged, it is
    loaded again once its files have changed.

    Args:
        models: the folder of the models that are known by name.
        default: what runs when no model is named: a name, or the path of a folder.
        device: of all models.
        num_slots: replies that each model writes at once.
        prefill_tokens: prompt tokens that each reads in one step.
        max_waiting: requests that may wait for each.
        load: makes an engine from a folder.

    Raises:
        ModelError: there is no default model.
    """

    def __init__(
        self,
        models: Path,
        default: str,
        device: torch.device,
        *,
        num_slots: int,
        prefill_tokens: int,
        max_waiting: int,
        load: Callable[..., tuple[LLMEngine, str]] = load_engine,
    ) -> None:
        self._models = models
        self._default_folder = find_model(default, models)
        self.default_name = model_name(self._default_folder)
        self.device = device
        self.num_slots = num_slots
        self._load_engine = partial(
            load,
            device=device,
            num_slots=num_slots,
            prefill_tokens=prefill_tokens,
            max_waiting=max_waiting,
        )
        # The longest unused first.
        self._running: dict[str, _Running] = {}
        self._closing: dict[_Running, asyncio.Task[None]] = {}
        self._one_load = asyncio.Lock()
        self._keeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Load the default model.

        Raises:
            EngineError: it cannot be loaded.
        """
        await self.get(None)
        self._keeping = asyncio.create_task(self._keep_default())
        return self

    async def __aexit__(self, *_: object) -> None:
        running = [*self._running.values(), *self._closing]
        self._running.clear()
        loads = (each.loading for each in running)
        tasks = [task for task in (self._keeping, *loads, *self._closing.values()) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in running:
            await _stop(each)

    @property
    def is_alive(self) -> bool:
        """Return whether every model that was loaded still answers."""
        in_use = [each for each in self._closing if each.num_users]
        engines = [each.engine for each in (*self._running.values(), *in_use) if each.engine]
        return all(engine.is_alive for engine in engines)

    @property
    def default_state(self) -> str:
        """Return how the default model is: `loading`, `runs`, or `failed`: it can't be loaded."""
        default = self._running.get(self.default_name)
        if default is not None:
            return "loading" if default.engine is None else "runs"
        return "loading" if self._keeping is None else "failed"

    def names(self) -> list[str]:
        """Return what can be asked for now: the default model, then the others in ABC order.

        It reads the disk, which may be slow: an event loop calls it in a thread.
        """
        others = sorted(model_folders(self._models).keys() - {self.default_name})
        return [self.default_name, *others]

    def folders(self) -> list[Path]:
        """Return the folders of all models that can be asked for now; it reads the disk as well."""
        return [self._default_folder, *model_folders(self._models).values()]

    async def get(self, name: str | None) -> AsyncEngine:
        """Return a model's engine; to have it write, hold it with `use`, or it may be closed.

        Raises:
            UnknownModelError: there is no model of that name.
            EngineError: it cannot be loaded or does not fit into memory.
        """
        async with self.use(name) as engine:
            return engine

    @contextlib.asynccontextmanager
    async def use(self, name: str | None) -> AsyncIterator[AsyncEngine]:
        """Hold a model's engine open, loading it first if need be.

        Args:
            name: None for the default model. Never a path.

        Raises:
            UnknownModelError: there is no model of that name.
            EngineError: it cannot be loaded or does not fit into memory.
        """
        running = self._find(*await asyncio.to_thread(self._look_up, name))
        running.num_users += 1
        running.is_idle.clear()
        try:
            assert running.loading is not None
            # An asker who leaves stops no load: others may wait for it too.
            yield await asyncio.shield(running.loading)
        finally:
            running.num_users -= 1
            if running.num_users == 0:
                running.is_idle.set()

    async def _keep_default(self) -> None:
        """Load the default model again when its files are others than those that failed."""
        failed: FileStamps | None = None
        while True:
            await asyncio.sleep(LOOK_S)
            now = await asyncio.to_thread(file_stamps, self._default_folder)
            if self.default_name in self._running or now == failed:
                continue
            try:
                await self.get(None)
            except MemoryShortError:
                # There may be more of it without a change of the files.
                failed = None
            except EngineError:
                failed = now

    def _look_up(self, name: str | None) -> tuple[str, Path, FileStamps]:
        name, folder = self._folder_of(name)
        return name, folder, file_stamps(folder)

    def _find(self, name: str, folder: Path, stamps: FileStamps) -> _Running:
        running = self._running.get(name)
        if running is not None and running.is_outdated(folder, stamps):
            log.info("model %s has changed and is loaded anew", name)
            self._retire(running)
            running = None
        if running is None:
            running = _Running(name, folder)
            running.loading = asyncio.create_task(self._load(running))
            running.loading.add_done_callback(_heed_failure)
        self._running.pop(name, None)
        self._running[name] = running
        return running

    def _folder_of(self, name: str | None) -> tuple[str, Path]:
        name = self.default_name if name is None else canonical_name(name)
        if name == self.default_name:
            return name, self._default_folder
        # Looked up and never joined to a path: a name from outside can't lead out of the folder.
        folder = model_folders(self._models).get(name)
        if folder is None:
            names = self.names()
            more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
            msg = (
                f"There is no model {name!r} here; there are {', '.join(names[:MAX_NAMED])}{more}."
            )
            raise UnknownModelError(msg)
        return name, folder

    async def _load(self, running: _Running) -> AsyncEngine:
        try:
            async with self._one_load:
                llm_engine = await self._make_room_and_load(running)
            running.engine = await AsyncEngine(llm_engine, running.name).__aenter__()
        except BaseException:
            if self._running.get(running.name) is running:
                del self._running[running.name]
            raise
        log.info("model %s is loaded", running.name)
        return running.engine

    async def _make_room_and_load(self, running: _Running) -> LLMEngine:
        while True:
            try:
                engine, running.stamps = await asyncio.to_thread(
                    read_model, running.folder, self._load_engine
                )
            except MemoryShortError as error:
                spare = self._longest_unused()
                if spare is not None and not self._closing:
                    log.info("model %s is closed to make room for %s", spare.name, running.name)
                    self._retire(spare)
                if not self._closing:
                    beside = [each.name for each in self._running.values() if each.engine]
                    others = f" ({', '.join(beside)} cannot be closed now)" if beside else ""
                    msg = f"The model {running.name} cannot be loaded{others}. {error}"
                    raise MemoryShortError(msg) from error
            else:
                return engine
            await asyncio.wait(self._closing.values(), return_when=asyncio.FIRST_COMPLETED)

    def _longest_unused(self) -> _Running | None:
        for each in self._running.values():
            if each.engine and not each.num_users and each.name != self.default_name:
                return each
        return None

    def _retire(self, running: _Running) -> None:
        """Give it to nobody any more, and close it when its last user is gone."""
        del self._running[running.name]
        self._closing[running] = asyncio.create_task(self._close_when_idle(running))

    async def _close_when_idle(self, running: _Running) -> None:
        try:
            await running.is_idle.wait()
            await _stop(running)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        finally:
            del self._closing[running]


async def _stop(running: _Running) -> None:
    # Forgotten only afterwards: who is cancelled meanwhile leaves it to the next to wait for it.
    if running.engine is not None:
        await running.engine.__aexit__(None, None, None)
    running.engine = running.loading = None


def _heed_failure(loading: asyncio.Task[AsyncEngine]) -> None:
    # Whoever still waits for it is told; that nobody waits any more is no fault.
    if not loading.cancelled():
        loading.exception()
