"""Which models there are, and what each is called."""

import shutil

import pytest

from engine.errors import (
    InvalidRequestError,
    ModelError,
    UnknownModelError,
)
from tests.engine.pools import (
    FakeLoader,
    ask,
    make_pool,
    says,
    write_model,
)


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
