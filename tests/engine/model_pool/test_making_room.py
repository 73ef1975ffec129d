"""Models that do not fit into memory together."""

import asyncio
import shutil
import threading
import weakref
from pathlib import Path

import pytest
import torch

from engine.errors import (
    MemoryShortError,
)
from engine.model_pool import ModelPool
from tests.engine.models import CPU
from tests.engine.pools import (
    FakeLoader,
    ask,
    make_pool,
    says,
    write_model,
    writing,
)


async def test_the_longest_unused_model_is_closed_to_make_room_and_never_the_default(models, small):
    write_model(models, "letters")
    small.room = 3
    async with make_pool(models, small) as pool:
        for name in ("notes", "essays", "notes", "letters", "essays"):
            await pool.get(name)
            assert pool.is_alive
    assert small.loaded == ["tiny", "notes", "essays", "letters", "essays"]


async def test_a_model_in_use_is_not_closed_and_the_refusal_has_the_numbers(models, small):
    async with make_pool(models, small) as pool:
        async with writing(pool, "notes"):
            with pytest.raises(MemoryShortError) as caught:
                await pool.get("essays")
            assert str(caught.value) == (
                "The model essays cannot be loaded (tiny, notes cannot be closed now). "
                "essays needs 9 MiB, but 1 MiB are free."
            )
            assert pool.is_alive
        await pool.get("essays")
    assert small.loaded == ["tiny", "notes", "essays"]


async def test_two_models_that_do_not_fit_together_serve_their_askers_in_turn(models, small):
    # Each load would close the other model while its asker has yet to begin, if it could.
    async with make_pool(models, small) as pool:
        for _ in range(3):
            answers = await asyncio.gather(
                *(ask(pool, name) for name in ("notes", "essays")), return_exceptions=True
            )
            assert "a" * 50 in answers, "at least one was served"
            assert {type(each) for each in answers} <= {str, MemoryShortError}


async def test_what_a_load_had_read_when_memory_ran_out_is_let_go(models):
    read: list[weakref.ref[threading.Event]] = []

    class RunsOut(FakeLoader):
        def check(self, folder: Path) -> None:
            if folder.name == "notes":
                weights = threading.Event()
                read.append(weakref.ref(weights))
                raise torch.OutOfMemoryError("CUDA")

    async with make_pool(models, RunsOut({"tiny": says("tiny")})) as pool:
        with pytest.raises(MemoryShortError) as caught:
            await pool.get("notes")
        [weights] = read
        assert weights() is None, f"{caught.value} still holds what was read"


async def test_a_real_model_that_does_not_fit_says_how_much_it_needs(saved: Path, tmp_path: Path):
    shutil.copytree(saved, tmp_path / "tiny")
    pool = ModelPool(tmp_path, "tiny", CPU, num_slots=10**9, prefill_tokens=16, max_waiting=2)
    with pytest.raises(MemoryShortError, match=r"tiny cannot be loaded\. .*slots need \d+ MiB"):
        await pool.__aenter__()
