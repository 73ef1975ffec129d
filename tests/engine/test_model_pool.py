"""Which models run: names and folders, loading, making room, and training while one is used."""

import asyncio
import contextlib
import shutil
import threading
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch

from codec.vocabulary import VocabularyError
from engine.errors import (
    EngineError,
    EngineStoppedError,
    InvalidRequestError,
    MemoryShortError,
    ModelError,
    UnknownModelError,
)
from engine.llm_engine import LLMEngine
from engine.model_pool import ModelPool
from engine.weights import save_model
from tests.engine.models import CPU, make_model
from tests.engine.pools import FakeLoader, make_pool, write_model
from tests.engine.support import ENDLESS, NextToken, forever_a, make_params, replies
from tests.engine.test_async_engine import collect, text_of
from wire.jobs import SamplingParams

DEADLINE_S = 40


def says(text: str) -> NextToken:
    return replies({"hi": text})


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Three models beside each other."""
    for name in ("tiny", "notes", "essays"):
        write_model(tmp_path / "models", name)
    return tmp_path / "models"


@pytest.fixture
def load() -> FakeLoader:
    return FakeLoader({name: says(f"I am {name}") for name in ("tiny", "notes", "essays")})


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


async def test_each_name_gets_its_own_model_and_no_name_the_default(models, load):
    async with make_pool(models, load) as pool:
        assert load.loaded == ["tiny"], "the others are loaded when they are asked for"
        said = [await ask(pool, name) for name in ("notes", None, "tiny", "essays", "notes")]
    assert said == ["I am notes", "I am tiny", "I am tiny", "I am essays", "I am notes"]
    assert load.loaded == ["tiny", "notes", "essays"]


async def test_the_names_are_the_model_folders_of_this_moment_the_default_first(models, load):
    async with make_pool(models, load) as pool:
        assert pool.names() == ["tiny", "essays", "notes"]
        (models / "no model").mkdir()
        (models / "empty").mkdir()
        (models / "a file").write_text("", encoding="utf-8")
        for name in (".hidden", "new.partial", "with space", "été", "x" * 65):
            write_model(models, name)
        assert pool.names() == ["tiny", "essays", "notes"]
        write_model(models, "letters")
        shutil.rmtree(models / "notes")
        assert pool.names() == ["tiny", "essays", "letters"]


async def test_a_released_model_is_known_by_its_size_whatever_its_folder_is_called(models):
    write_model(models, "gpt2-medium")
    load = FakeLoader({"tiny": says("tiny"), "gpt2-medium": says("medium")})
    async with make_pool(models, load) as pool:
        assert pool.names() == ["tiny", "355M", "essays", "notes"]
        for name in ("355M", "gpt2-medium", "openai-community/gpt2-medium"):
            assert await ask(pool, name) == "medium"
        async with pool.use("gpt2-medium") as engine:
            assert engine.model_name == "355M"
    assert load.loaded == ["tiny", "gpt2-medium"]


@pytest.mark.parametrize(
    "name",
    ["../outside", "..", ".", "", "notes/../../outside", "notes/", "tiny\0", ".hidden", "novel"],
)
async def test_a_name_never_leads_out_of_the_models_folder(models, load, name):
    write_model(models.parent, "outside")
    write_model(models, ".hidden")
    async with make_pool(models, load) as pool:
        with pytest.raises(UnknownModelError, match=r"no model .* there are tiny, essays, notes\."):
            await pool.get(name)
        with pytest.raises(UnknownModelError):
            await pool.get(str(models.parent / "outside"))
    assert load.loaded == ["tiny"]


async def test_a_refusal_lists_some_models_and_says_how_many_more_there_are(models, load):
    for number in range(30):
        write_model(models, f"m{number:02}")
    async with make_pool(models, load) as pool:
        with pytest.raises(InvalidRequestError, match=r"tiny, essays, m00, .*, m17 and 13 more\.$"):
            await pool.get("novel")


async def test_the_operator_may_give_the_default_by_path(models, tmp_path):
    folder = write_model(tmp_path / "elsewhere", "mine")
    write_model(models, "mine")
    load = FakeLoader({"mine": says("I am mine")})
    async with make_pool(models, load, str(folder)) as pool:
        assert (pool.default_name, pool.names()) == ("mine", ["mine", "essays", "notes", "tiny"])
        assert await ask(pool, "mine") == await ask(pool, None) == "I am mine"
    assert load.loaded == ["mine"]


def test_a_default_that_is_nowhere_is_told_before_anything_starts(models, load):
    with pytest.raises(ModelError, match=r"no model 'gone'.*python -m engine download 124M"):
        make_pool(models, load, "gone")


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


async def loading(load: FakeLoader) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while load.num_loading == 0:
            await asyncio.sleep(0.01)


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


@pytest.fixture
def small() -> Small:
    return Small(2, dict.fromkeys(("tiny", "notes", "essays", "letters"), forever_a))


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
        async with asyncio.timeout(DEADLINE_S):
            while len(small.in_memory) == 3:
                await asyncio.sleep(0.01)
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
            while not pool._closing:
                await asyncio.sleep(0)
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
        while sum(each.num_users for each in [*pool._running.values(), *pool._closing]) < 2:
            await asyncio.sleep(0.001)
        leaver.cancel()
        await asyncio.gather(leaver, return_exceptions=True)
        load.gate.set()
        await second
        assert await ask(pool, "1558M") == "new"
    assert not [each for each in threading.enumerate() if each.name == "engine"]


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


async def test_a_real_model_that_does_not_fit_says_how_much_it_needs(saved: Path, tmp_path: Path):
    shutil.copytree(saved, tmp_path / "tiny")
    pool = ModelPool(tmp_path, "tiny", CPU, num_slots=10**9, prefill_tokens=16, max_waiting=2)
    with pytest.raises(MemoryShortError, match=r"tiny cannot be loaded\. .*slots need \d+ MiB"):
        await pool.__aenter__()
