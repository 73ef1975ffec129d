"""Models that change while they are used or read."""

import asyncio
import contextlib
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from engine.errors import (
    ModelError,
)
from engine.model_pool import ModelPool
from engine.weights import save_model
from tests.engine.callers import collect, text_of
from tests.engine.models import CPU, make_model
from tests.engine.pools import (
    DEADLINE_S,
    FakeLoader,
    ask,
    loading,
    make_pool,
    says,
    until,
    write_model,
    writing,
)
from tests.engine.support import ENDLESS, forever_a, make_params
from wire.jobs import SamplingParams

A_WHILE_S = 0.2
"""Long enough for who does not wait to be seen leaving; short beside the engine's `LEAVE_S`."""


async def test_a_model_that_was_trained_again_is_loaded_anew(models):
    load = FakeLoader({"tiny": says("tiny"), "notes": says("the same")})
    async with make_pool(models, load) as pool:
        assert await ask(pool, "notes") == await ask(pool, "notes") == "the same"
        (models / "notes" / "losses.csv").write_text("step,loss\n", encoding="utf-8")
        assert await ask(pool, "notes") == "the same"
        assert load.loaded == ["tiny", "notes"]
        write_model(models, "notes", "trained again")
        load._next_tokens["notes"] = says("another")
        assert await ask(pool, "notes") == await ask(pool, "notes") == "another"
        write_model(models, "tiny", "trained again")
        load._next_tokens["tiny"] = says("other")
        assert await ask(pool, None) == "other"
    assert load.loaded == ["tiny", "notes", "notes", "tiny"]


async def test_a_reply_is_finished_by_the_weights_that_began_it(models, small):
    small.room = 3
    async with make_pool(models, small) as pool:
        async with writing(pool, "notes"):
            write_model(models, "notes", "trained again")
            small._next_tokens["notes"] = says("the new one")
            assert await ask(pool, "notes") == "the new one"
            assert len(small.in_memory) == 3
        await until(lambda: len(small.in_memory) < 3)
        assert pool.is_alive
        assert await ask(pool, "notes") == "the new one"


async def test_where_old_and_new_weights_do_not_fit_together_the_old_reply_is_waited_for(
    models, small
):
    async with make_pool(models, small) as pool:
        async with writing(pool, "notes") as cancelled:
            write_model(models, "notes", "trained again")
            small._next_tokens["notes"] = says("the new one")
            asked = asyncio.create_task(ask(pool, "notes"))
            await until(lambda: pool._closing)
            assert not asked.done()
            cancelled.set()
            assert await asked == "the new one"
        assert len(small.in_memory) == 2


async def test_a_folder_that_is_empty_for_a_moment_closes_nothing(models, load):
    async with make_pool(models, load) as pool:
        shutil.rmtree(models / "tiny")
        assert await ask(pool, None) == "I am tiny"
        assert pool.names()[0] == "tiny"


class Replaced(FakeLoader):
    """Finds some models replaced, whole or half, by the time that they are read."""

    while_read: dict[str, list[Exception | None]]

    def check(self, folder: Path) -> None:
        if self.while_read.get(folder.name):
            reason = self.while_read[folder.name].pop(0)
            write_model(folder.parent, folder.name, f"as of {len(self.while_read[folder.name])}")
            if reason:
                raise reason


@pytest.mark.parametrize("reason", [None, ModelError("cut off")], ids=["mixed", "half"])
async def test_a_model_that_is_replaced_while_it_is_read_is_read_again(models, reason):
    load = Replaced({"tiny": says("tiny"), "notes": says("the new one")})
    load.while_read = {"notes": [reason]}
    async with make_pool(models, load) as pool:
        assert await ask(pool, "notes") == "the new one"
        loaded = ["tiny", "notes", "notes"] if reason is None else ["tiny", "notes"]
        assert load.loaded == loaded
        assert await ask(pool, "notes") == "the new one"
    assert load.loaded == loaded


async def test_a_model_that_does_not_come_to_rest_is_told_so(models):
    load = Replaced({"tiny": says("tiny")})
    load.while_read = {"notes": [ModelError("cut off")] * 100}
    async with make_pool(models, load) as pool:
        with pytest.raises(ModelError, match="cut off"):
            await ask(pool, "notes")
    assert len(load.while_read["notes"]) > 90


async def test_a_model_whose_folder_moves_while_it_is_loaded_leaves_nothing_running(models):
    write_model(models, "gpt2-xl")
    load = FakeLoader({"tiny": says("x"), "gpt2-xl": says("old"), "1558M": says("new")})
    async with make_pool(models, load) as pool:
        load.gate.clear()
        leaver = asyncio.create_task(ask(pool, "1558M"))
        await loading(load)
        write_model(models, "1558M")
        second = asyncio.create_task(ask(pool, "1558M"))
        everywhere = (pool._running.values(), pool._closing)
        await until(lambda: sum(each.num_users for some in everywhere for each in some) == 2)
        leaver.cancel()
        await asyncio.gather(leaver, return_exceptions=True)
        load.gate.set()
        await second
        assert await ask(pool, "1558M") == "new"
    assert not [each for each in threading.enumerate() if each.name == "engine"]


async def test_leaving_waits_for_a_model_that_is_just_being_closed(models):
    in_step, step_may_end = threading.Event(), threading.Event()

    def next_token(held: Sequence[int]) -> int:
        if bytes(held).endswith(b"a"):
            in_step.set()
            step_may_end.wait(DEADLINE_S)
        return forever_a(held)

    load = FakeLoader({"tiny": says("x"), "notes": next_token})
    params = make_params(max_tokens=ENDLESS)
    async with make_pool(models, load) as pool:
        async with (
            pool.use("notes") as engine,
            contextlib.aclosing(engine.generate("hi", params)) as events,
        ):
            await anext(events)
            await until(in_step.is_set)
        write_model(models, "notes", "trained again")
        load._next_tokens["notes"] = says("another")
        asked = asyncio.create_task(ask(pool, "notes"))
        # The request was taken back; next comes the order to end.
        await until(lambda: engine._inbox.qsize() == 2)
        asked.cancel()
        asyncio.get_running_loop().call_later(A_WHILE_S, step_may_end.set)
    assert not [each for each in threading.enumerate() if each.name == "engine"]


async def test_real_weights_that_were_trained_again_write_something_else(
    saved: Path, vocabulary: Path, tmp_path: Path
):
    shutil.copytree(saved, tmp_path / "tiny")
    pool = ModelPool(tmp_path, "tiny", CPU, num_slots=2, prefill_tokens=16, max_waiting=2)
    params = SamplingParams(temperature=0, max_tokens=30)

    async def write(name: str) -> str:
        async with pool.use(name) as engine:
            return text_of(await collect(engine.generate("hello", params)))

    async with pool:
        first = await write("tiny")
        save_model(make_model(seed=1), vocabulary, tmp_path / "notes", dtype=torch.float32)
        second = await write("notes")
        save_model(make_model(seed=2), vocabulary, tmp_path / "notes", dtype=torch.float32)
        third = await write("notes")
        assert len({first, second, third}) == 3
        assert await write("tiny") == first
