"""Loading models when they are asked for: shared, one at a time, and when it fails."""

import asyncio
import threading
from pathlib import Path

import pytest
import torch

from codec.vocabulary import VocabularyError
from engine.errors import (
    EngineError,
    EngineStoppedError,
    MemoryShortError,
    ModelError,
)
from tests.engine.pools import (
    DEADLINE_S,
    FakeLoader,
    ask,
    loading,
    make_pool,
    says,
)


async def test_askers_share_one_load_and_different_models_are_loaded_one_after_the_other(
    models, load
):
    async with make_pool(models, load) as pool:
        load.gate.clear()
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            said = [
                group.create_task(ask(pool, name))
                for name in ("notes", "essays", "notes", "essays", "notes")
            ]
            await loading(load)
            # A model that runs answers meanwhile.
            assert await ask(pool, None) == "I am tiny"
            load.gate.set()
    assert [each.result() for each in said] == [
        f"I am {name}" for name in ("notes", "essays", "notes", "essays", "notes")
    ]
    # Which of the two comes first is up to the threads that look the names up.
    assert load.loaded[0] == "tiny"
    assert sorted(load.loaded[1:]) == ["essays", "notes"]
    assert load.most_at_once == 1


async def test_an_asker_who_leaves_stops_no_load_for_the_others(models, load):
    async with make_pool(models, load) as pool:
        load.gate.clear()
        leaves = asyncio.create_task(ask(pool, "notes"))
        stays = asyncio.create_task(ask(pool, "notes"))
        await loading(load)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        load.gate.set()
        assert await stays == "I am notes"
    assert load.loaded == ["tiny", "notes"]


class Damaged(FakeLoader):
    """Cannot load some models, each for a reason of its own."""

    reasons: dict[str, Exception]

    def check(self, folder: Path) -> None:
        if reason := self.reasons.get(folder.name):
            raise reason


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (ModelError("a tensor is missing"), ModelError),
        (VocabularyError("a tensor is missing"), ModelError),
        (PermissionError("a tensor is missing"), ModelError),
        (torch.OutOfMemoryError("CUDA"), MemoryShortError),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_model_that_cannot_be_loaded_is_told_to_all_askers_and_tried_again(
    models, reason, kind
):
    load = Damaged({"tiny": says("tiny"), "notes": says("whole again")})
    load.reasons = {"notes": reason}
    async with make_pool(models, load) as pool:
        answers = await asyncio.gather(
            *(ask(pool, "notes") for _ in range(3)), return_exceptions=True
        )
        assert [type(each) for each in answers] == [kind] * 3
        assert all(isinstance(each, EngineError) for each in answers)
        expected = "notes does not fit" if kind is MemoryShortError else "a tensor is missing"
        assert expected in str(answers[0])
        assert pool.is_alive
        load.reasons = {}
        assert await ask(pool, "notes") == "whole again"


async def test_a_default_that_cannot_be_loaded_opens_no_pool(models):
    load = Damaged({})
    load.reasons = {"tiny": ModelError("a tensor is missing")}
    with pytest.raises(ModelError, match="a tensor is missing"):
        async with make_pool(models, load):
            pytest.fail("it was opened")


async def test_a_step_loop_that_dies_is_seen_whichever_models_it_is(models):
    def dies(held: object) -> int:
        raise RuntimeError("the device is lost")

    async with make_pool(models, FakeLoader({"tiny": says("x"), "notes": dies})) as pool:
        assert pool.is_alive
        with pytest.raises(EngineStoppedError):
            await ask(pool, "notes")
        assert not pool.is_alive


async def test_leaving_the_pool_ends_every_engine_thread(models, load):
    before = set(threading.enumerate())
    async with make_pool(models, load) as pool:
        await ask(pool, "notes")
        engines = [each for each in threading.enumerate() if each not in before]
        assert len([each for each in engines if each.name == "engine"]) == 2
    assert not [each for each in threading.enumerate() if each.name == "engine"]


async def test_the_pool_can_be_left_while_a_model_is_being_loaded(models, load):
    asked = None
    try:
        async with asyncio.timeout(DEADLINE_S):
            async with make_pool(models, load) as pool:
                load.gate.clear()
                asked = asyncio.create_task(ask(pool, "notes"))
                await loading(load)
            with pytest.raises(asyncio.CancelledError):
                await asked
    finally:
        load.gate.set()
    assert not [each for each in threading.enumerate() if each.name == "engine"]
